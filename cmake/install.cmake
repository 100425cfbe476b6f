# SPDX-License-Identifier: Apache-2.0
#
# What `cmake --install` puts where: headers, both libraries, pkg-config file, CMake package, manual pages.

include(CMakePackageConfigHelpers)

if(installed)
    # ./quickstart builds this target; who built less is told what to build. Installing builds nothing: root would own
    # it.
    add_custom_target(soma_installed)
    add_dependencies(soma_installed ${installed})
    foreach(target IN LISTS installed)
        install(CODE "
            if(NOT EXISTS \"$<TARGET_FILE:${target}>\")
                message(FATAL_ERROR \"soma: $<TARGET_FILE_NAME:${target}> is not built yet; build what is installed with
    cmake --build \\\"${PROJECT_BINARY_DIR}\\\" --target soma_installed\")
            endif()")
    endforeach()
    if(TARGET soma_command)
        install(TARGETS soma_command RUNTIME)
    endif()
    install(TARGETS soma soma_static EXPORT somaTargets)
    set(package ${CMAKE_INSTALL_LIBDIR}/cmake/soma)
    install(EXPORT somaTargets NAMESPACE soma:: DESTINATION ${package})
    configure_package_config_file(cmake/somaConfig.cmake.in somaConfig.cmake INSTALL_DESTINATION ${package})
    write_basic_package_version_file(somaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
    install(FILES ${PROJECT_BINARY_DIR}/somaConfig.cmake ${PROJECT_BINARY_DIR}/somaConfigVersion.cmake
        DESTINATION ${package})
endif()

install(DIRECTORY include/soma ${SOMA_MADE}/include/soma DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
if(EXISTS ${PROJECT_SOURCE_DIR}/LICENSE)
    install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()
if(PROJECT_IS_TOP_LEVEL AND installed) # made by the target reference, which soma_installed builds
    install(DIRECTORY ${PROJECT_BINARY_DIR}/reference DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
endif()
file(GLOB pages CONFIGURE_DEPENDS docs/man/*.1)
if(pages)
    install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()

# Paths below the prefix stay relative to it, so that pkg-config --define-prefix works.
foreach(folder LIBDIR INCLUDEDIR)
    if(IS_ABSOLUTE ${CMAKE_INSTALL_${folder}})
        set(SOMA_PC_${folder} ${CMAKE_INSTALL_${folder}})
    else()
        set(SOMA_PC_${folder} "\${prefix}/${CMAKE_INSTALL_${folder}}")
    endif()
endforeach()
list(JOIN SOMA_REQUIRES " " SOMA_PC_REQUIRES)
list(JOIN SOMA_PRIVATE_NAMES " " SOMA_PC_PRIVATE)
# The prefix may be given to cmake --install only: the file is written then.
install(CODE "set(CMAKE_INSTALL_LIBDIR \"${CMAKE_INSTALL_LIBDIR}\")")
configure_file(cmake/soma.pc.in soma.pc.part @ONLY)
install(CODE "
    file(READ \"${PROJECT_BINARY_DIR}/soma.pc.part\" text)
    string(REGEX REPLACE \"^prefix=[^\\n]*\" \"prefix=\${CMAKE_INSTALL_PREFIX}\" text \"\${text}\")
    file(WRITE \"${PROJECT_BINARY_DIR}/soma.pc\" \"\${text}\")")
install(FILES ${PROJECT_BINARY_DIR}/soma.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
