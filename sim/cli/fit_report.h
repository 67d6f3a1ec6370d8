/* SPDX-License-Identifier: Apache-2.0
 *
 * What a fit has to say of itself: errors per family, notes, coefficients, ranges; and pictures. */
#ifndef STEELYARD_FIT_REPORT_H
#define STEELYARD_FIT_REPORT_H

#include "calibrate/fit.h"

typedef void fit_printer(const struct fit *f, const char *path);
/* "text", "json" or "csv"; NULL = another word. */
fit_printer *fit_printer_find(const char *format);
extern const char *const fit_formats[]; /* NULL-terminated */

/* For each family FOLDER/residuals-FAMILY.dat, .gp, .svg and .png: predicted against measured, one by one,
 * beside the roofline. */
int fit_plot(const struct fit *f, const char *folder, struct arena *ar, struct err *e);

#endif
