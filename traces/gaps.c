/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/gaps.h"

#include <gsl/gsl_cdf.h>
#include <math.h>

/* ln of the first guess: the leading term of P for small x, else Wilson and Hilferty's cube. */
static double first_guess(double u, double a)
{
    double small = (log(u) + lgamma(a + 1)) / a;
    if (small < log(0.1 + 0.1 * a)) {
        return small;
    }
    double w = 1 / (9 * a);
    double cube = 1 - w + gsl_cdf_ugaussian_Pinv(u) * sqrt(w);
    return cube > 0.05 ? log(a * cube * cube * cube) : fmin(small, log(a + 1));
}

/* Newton in y = ln x, kept inside a bracket; the smaller tail decides, so that u near 1 is exact too. */
double gamma_inverse(double u, double shape)
{
    double lo = -746, hi = log(shape + 40 * sqrt(shape) + 800);
    double y = first_guess(u, shape), log_norm = lgamma(shape);
    if (y < -600) { /* the leading term is exact here */
        return exp(y);
    }
    for (int i = 0; i < 80; i++) {
        y = y > lo && y < hi ? y : (lo + hi) / 2;
        double x = exp(y);
        double above = u < 0.5 ? gsl_cdf_gamma_P(x, shape, 1) - u : (1 - u) - gsl_cdf_gamma_Q(x, shape, 1);
        lo = above <= 0 ? y : lo;
        hi = above >= 0 ? y : hi;
        double step = above / exp(shape * y - x - log_norm);
        if (fabs(step) < 1e-13 * (1 + fabs(y)) || hi - lo < 1e-15) {
            break;
        }
        y -= step;
    }
    return exp(y);
}

double gap_inverse(double u, double cv)
{
    if (cv == 1) {
        return gsl_cdf_exponential_Pinv(u, 1);
    }
    double shape = 1 / (cv * cv);
    return cv <= 0 ? 1 : gamma_inverse(u, shape) / shape;
}
