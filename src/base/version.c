/* SPDX-License-Identifier: Apache-2.0
 *
 * base/version.c: the version of the library.
 */
#include <soma/base.h>

const char *soma_version(void)
{
    return SOMA_VERSION;
}
