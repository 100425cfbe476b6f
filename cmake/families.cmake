# SPDX-License-Identifier: Apache-2.0
#
# Makes soma/families.h, the public builders of the ops that are rows of a list (src/op/*/*.list): the C preprocessor
# reads the lists through cmake/families.h.in, so that no row is parsed twice. Configured anew when a list changes.

set(families ${SOMA_MADE}/include/soma/families.h)
file(GLOB family_lists CONFIGURE_DEPENDS src/op/*/*.list)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS cmake/families.h.in ${family_lists})
separate_arguments(preprocessor_flags UNIX_COMMAND "${CMAKE_C_FLAGS}")
execute_process(COMMAND ${CMAKE_C_COMPILER} ${preprocessor_flags} -E -P -x c -I ${PROJECT_SOURCE_DIR}/src
    ${PROJECT_SOURCE_DIR}/cmake/families.h.in OUTPUT_VARIABLE text RESULT_VARIABLE status)
if(NOT status EQUAL 0)
    message(FATAL_ERROR "soma: the preprocessor cannot read the lists of ops (cmake/families.h.in)")
endif()
string(REGEX REPLACE "[ \n]+" " " text "${text}")
string(REPLACE "\"" "" text "${text} ")
string(REGEX REPLACE " ([);])" "\\1" text "${text}")
string(REPLACE " @member @doc" "\n    /**" text "${text}")
string(REPLACE " @doc" "\n/**" text " ${text}")
string(REPLACE "@end" "*/" text "${text}")
string(REPLACE " @line" "\n" text "${text}")
string(REGEX REPLACE "\n +([^ /])" "\n\\1" text "${text}")
string(REGEX REPLACE " *@member " "\n    " text "${text}")
string(REPLACE "@define" "#define" text "${text}")
string(REPLACE "@arguments" "__VA_ARGS__" text "${text}")
file(CONFIGURE OUTPUT ${families} @ONLY CONTENT [[
/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/families.h: builders of the ops that are rows of a list, made by the build from src/op; included by soma/ops.h.
 */
#ifndef SOMA_FAMILIES_H
#define SOMA_FAMILIES_H

#include <soma/graph.h>

#ifdef __cplusplus
extern "C" {
#endif
@text@

#ifdef __cplusplus
}
#endif
#endif
]])
