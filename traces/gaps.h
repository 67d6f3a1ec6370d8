/* SPDX-License-Identifier: Apache-2.0
 *
 * Inverse of the gamma distribution, for gaps and modulated rates. gsl_cdf_gamma_Pinv gives up for some
 * small shapes (a CV of 3 is shape 0.11) and then calls GSL's error handler, which aborts by default. */
#ifndef STEELYARD_TRACE_GAPS_H
#define STEELYARD_TRACE_GAPS_H

/* x with P(shape, x) = u; u in (0,1), shape in 1e-4..1e6. The mean of such numbers is `shape`. */
double gamma_inverse(double u, double shape);
/* A gap with mean 1 whose coefficient of variation is cv: 0 = even, 1 = exponential, else gamma. */
double gap_inverse(double u, double cv);

#endif
