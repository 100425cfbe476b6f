/* SPDX-License-Identifier: Apache-2.0
 *
 * load_onednn.c: a process that loads oneDNN and ends: what `soma predict` cannot be faster than (bar house-09).
 */
#include <dnnl.h>

int main(void)
{
    return dnnl_version() == NULL;
}
