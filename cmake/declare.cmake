# SPDX-License-Identifier: Apache-2.0
#
# Makes public headers and tables of the lists of kinds, by scripts/declare.c, while the build is configured: again
# whenever a list changes. Headers go to ${SOMA_MADE}/include/soma, tables to ${SOMA_MADE}/src.

set(SOMA_MADE ${PROJECT_BINARY_DIR}/made)
set(declared_layers nn) # declared_<list>: the folder below src that has <list>.list
set(declared_lists layers)

set(declare_program ${SOMA_MADE}/declare)
if(CMAKE_CROSSCOMPILING)
    find_program(SOMA_HOST_CC NAMES cc gcc clang REQUIRED DOC "compiler for programs that run while soma is built")
else()
    set(SOMA_HOST_CC ${CMAKE_C_COMPILER})
endif()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS scripts/declare.c)
file(MAKE_DIRECTORY ${SOMA_MADE}/include/soma)
execute_process(COMMAND ${SOMA_HOST_CC} -std=c11 -I${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/scripts/declare.c
    -o ${declare_program} RESULT_VARIABLE status ERROR_VARIABLE errors)
if(NOT status EQUAL 0)
    message(FATAL_ERROR "soma: scripts/declare.c or a list that it reads is wrong:\n${errors}")
endif()
foreach(list IN LISTS declared_lists)
    set(folder ${declared_${list}})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS src/${folder}/${list}.list)
    foreach(what header table)
        set(file ${SOMA_MADE}/include/soma/${list}.h)
        if(what STREQUAL table)
            set(file ${SOMA_MADE}/src/${folder}/${list}_table.h)
        endif()
        execute_process(COMMAND ${declare_program} ${list} ${what} OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
        file(CONFIGURE OUTPUT ${file} CONTENT "${text}" @ONLY) # written only where it changed
    endforeach()
endforeach()
target_include_directories(soma_flags INTERFACE ${SOMA_MADE}/include)
