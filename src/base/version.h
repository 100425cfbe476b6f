/* SPDX-License-Identifier: Apache-2.0
 *
 * base/version.h: what this library was built with, as string literals. The build passes SOMA_HAVE_<LIBRARY> for each
 * library it found, and may pass SOMA_<LIBRARY>_VERSION="1.2.3" where it knows the version.
 */
#ifndef SOMA_BASE_VERSION_H
#define SOMA_BASE_VERSION_H

#include <soma/base.h>

#define SOMA_TEXT2(x) #x
#define SOMA_TEXT1(x) SOMA_TEXT2(x)

#if defined(__clang__)
#define SOMA_COMPILER_TEXT                                                                                             \
    "clang " SOMA_TEXT1(__clang_major__) "." SOMA_TEXT1(__clang_minor__) "." SOMA_TEXT1(__clang_patchlevel__)
#elif defined(__GNUC__)
#define SOMA_COMPILER_TEXT                                                                                             \
    "gcc " SOMA_TEXT1(__GNUC__) "." SOMA_TEXT1(__GNUC_MINOR__) "." SOMA_TEXT1(__GNUC_PATCHLEVEL__)
#else
#define SOMA_COMPILER_TEXT "an unnamed compiler"
#endif

#if defined(SOMA_HAVE_ONEDNN) && defined(SOMA_ONEDNN_VERSION)
#define SOMA_ONEDNN_TEXT ", oneDNN " SOMA_ONEDNN_VERSION
#elif defined(SOMA_HAVE_ONEDNN)
#define SOMA_ONEDNN_TEXT ", oneDNN"
#else
#define SOMA_ONEDNN_TEXT ""
#endif

#ifdef SOMA_HAVE_ZLIB
#define SOMA_ZLIB_TEXT ", zlib"
#else
#define SOMA_ZLIB_TEXT ""
#endif

#ifdef SOMA_HAVE_PNG
#define SOMA_PNG_TEXT ", libpng"
#else
#define SOMA_PNG_TEXT ""
#endif

#ifdef SOMA_HAVE_JPEG
#define SOMA_JPEG_TEXT ", libjpeg"
#else
#define SOMA_JPEG_TEXT ""
#endif

#ifdef SOMA_HAVE_WEBP
#define SOMA_WEBP_TEXT ", libwebp"
#else
#define SOMA_WEBP_TEXT ""
#endif

#ifdef SOMA_HAVE_YAML
#define SOMA_YAML_TEXT ", libyaml"
#else
#define SOMA_YAML_TEXT ""
#endif

#ifdef SOMA_HAVE_XXHASH
#define SOMA_XXHASH_TEXT ", xxHash"
#else
#define SOMA_XXHASH_TEXT ""
#endif

/* ", oneDNN 2.6.3, zlib, libpng": empty when none was found. */
#define SOMA_LIBRARIES_TEXT                                                                                            \
    SOMA_ONEDNN_TEXT SOMA_ZLIB_TEXT SOMA_PNG_TEXT SOMA_JPEG_TEXT SOMA_WEBP_TEXT SOMA_YAML_TEXT SOMA_XXHASH_TEXT

#endif
