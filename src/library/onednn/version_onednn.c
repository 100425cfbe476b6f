/* SPDX-License-Identifier: Apache-2.0
 *
 * library/onednn/version_onednn.c: which library runs: another one than at compile time may have been loaded.
 */
#include "compile/choose/choices.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>

void soma_library_text(char text[SOMA_LIBRARY_TEXT])
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, SOMA_LIBRARY_TEXT, "oneDNN %d.%d.%d isa %x", v->major, v->minor, v->patch,
             (unsigned)dnnl_get_effective_cpu_isa());
}
