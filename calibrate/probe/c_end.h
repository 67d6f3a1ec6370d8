/* SPDX-License-Identifier: Apache-2.0
 * No guard: ends what c_begin.h began. */
#ifdef __cplusplus
}
#endif
