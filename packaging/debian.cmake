# `ninja package`, in a build for /usr (the preset `package`): hearth, libhearth<major> and
# libhearth-dev for Debian. What they depend on is found by dpkg-shlibdeps.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_VENDOR Hearth)
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL command library development)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "Hearth maintainers <maintainers@localhost>")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# What dpkg-shlibdeps makes of a program that is linked with libhearth.so; there is none of a
# component's own. A function that is new needs a newer library, and none is ever taken back.
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")

set(CPACK_DEBIAN_COMMAND_PACKAGE_NAME hearth)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SECTION utils)
set(CPACK_COMPONENT_COMMAND_DESCRIPTION
  "runs Mixture-of-Experts language models larger than memory
 Experts that are in use are kept in a budget of RAM, the others are read from
 the disk when a token is routed to them; the answer is the same, bit for bit.")

set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libhearth${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION
  "Mixture-of-Experts language models larger than memory - library
 The runtime behind the command hearth, for other programs.")

# The last four for libhearth.a, and because pkg-config wants to know of them.
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libhearth-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
  "libhearth${PROJECT_VERSION_MAJOR} (= ${PROJECT_VERSION}), libfmt-dev, liburing-dev, libpcre2-dev, libxxhash-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION
  "Mixture-of-Experts language models larger than memory - development
 Headers, the static library, and what CMake and pkg-config read.")

# Each package has the licences where Debian looks for them: those of others, then our own.
if(CMAKE_INSTALL_PREFIX STREQUAL /usr)
  file(READ ${CMAKE_SOURCE_DIR}/NOTICE notice)
  file(READ ${CMAKE_SOURCE_DIR}/LICENSE license)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/copyright "${notice}\n${license}")
  foreach(component COMMAND LIBRARY DEVELOPMENT)
    string(TOLOWER ${component} name)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/copyright COMPONENT ${name}
      DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${CPACK_DEBIAN_${component}_PACKAGE_NAME})
  endforeach()
endif()

include(CPack)
