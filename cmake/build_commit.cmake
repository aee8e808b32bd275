# Writes generated/build_commit.h: the version and the commit of the sources. Run at every build
# (cmake -D SOURCE=... -D OUT=... -D VERSION=... -P this), it changes the file only where the commit did, so
# that nothing else is built again. Without git or without a repository (in a container) the commit is what the
# environment variable VMLA_COMMIT says, or "".
set(_commit "")
find_program(_git git)
if(_git AND EXISTS ${SOURCE}/.git)
  execute_process(COMMAND ${_git} -C ${SOURCE} rev-parse --short=12 HEAD
    OUTPUT_VARIABLE _commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  execute_process(COMMAND ${_git} -C ${SOURCE} --no-optional-locks diff --quiet HEAD --
    RESULT_VARIABLE _changed OUTPUT_QUIET ERROR_QUIET)
  if(_commit AND _changed EQUAL 1)
    string(APPEND _commit "+")
  endif()
endif()
if(NOT _commit AND "$ENV{VMLA_COMMIT}" MATCHES "^[0-9a-f]+$")
  set(_commit $ENV{VMLA_COMMIT})
endif()
file(CONFIGURE OUTPUT ${OUT} @ONLY CONTENT [[#pragma once

// Written by cmake/build_commit.cmake.
namespace vmla {
inline constexpr char kBuildVersion[] = "@VERSION@";
inline constexpr char kBuildCommit[] = "@_commit@";
}  // namespace vmla
]])
