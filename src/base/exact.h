/* SPDX-License-Identifier: Apache-2.0
 *
 * base/exact.h: elementary functions in f64 that give the same bits on every compiler, optimisation level and CPU:
 * plain C, no FMA contraction, no libm. Error below 2 units in the last place of f64 over the whole range.
 */
#ifndef SOMA_BASE_EXACT_H
#define SOMA_BASE_EXACT_H

double soma_exact_exp(double x);
double soma_exact_log(double x); /* of 0: -inf; of negative: NaN */
double soma_exact_tanh(double x);
double soma_exact_sigmoid(double x);
double soma_exact_sin(double x);
double soma_exact_cos(double x);
double soma_exact_sqrt(double x);          /* correctly rounded (IEEE) */
double soma_exact_pow(double x, double y); /* x > 0 */

#endif
