/* SPDX-License-Identifier: Apache-2.0
 *
 * The look of all figures, and running gnuplot on a script. */
#ifndef STEELYARD_GNUPLOT_H
#define STEELYARD_GNUPLOT_H

#include <stdbool.h>
#include <stdio.h>

#include "sim/core/arena.h"
#include "sim/core/err.h"

#define GNUPLOT_LINES 10 /* line types that can be told apart */

/* Line types 1..GNUPLOT_LINES, borders, grid, key. */
void gnuplot_style(FILE *gp);
/* Output goes to NAME.svg or NAME.png in the script's folder. */
void gnuplot_terminal(FILE *gp, const char *name, bool svg, int width, int height);
/* Text inside a gnuplot '...' string. */
void gnuplot_quoted(FILE *gp, const char *text);
/* Draw with FOLDER/NAME.gp, inside FOLDER. */
int gnuplot_run(const char *folder, const char *name, struct arena *ar, struct err *e);
/* Make sure that the folder is there. */
int gnuplot_folder(const char *folder, struct err *e);

#endif
