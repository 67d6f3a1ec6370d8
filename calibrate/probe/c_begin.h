/* SPDX-License-Identifier: Apache-2.0
 * No guard: what follows, up to c_end.h, is C also when nvcc reads it. */
#ifdef __cplusplus
extern "C" {
#endif
