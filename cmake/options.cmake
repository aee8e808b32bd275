# Flags that every target of ours shares, and the one way to declare a target.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# The target all_verify_interface_header_sets compiles each header alone: the precompiled header hides what it lacks.
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS ON)
# One precompiled header serves libraries and executables only if both are compiled with -fPIC.
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_COMPILE_OPTIONS_PIE "-fPIC")
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} ${CCACHE_PROGRAM})
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

add_library(project_options INTERFACE)
target_compile_options(project_options INTERFACE -Wall -Wextra -Wshadow -Werror -Winvalid-pch)
target_include_directories(project_options INTERFACE ${PROJECT_SOURCE_DIR})

# vmla_library(NAME SOURCES a.cpp ... HEADERS a.h ... [PUBLIC libs] [PRIVATE libs] [NO_TORCH])
# A static library of one folder. With LibTorch it reuses the one precompiled header; NO_TORCH promises
# that no LibTorch header is seen.
function(vmla_library name)
  cmake_parse_arguments(ARG "NO_TORCH" "" "SOURCES;HEADERS;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_sources(${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${ARG_HEADERS})
  target_link_libraries(${name} PUBLIC project_options ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  if(NOT ARG_NO_TORCH)
    target_link_libraries(${name} PUBLIC libtorch::cpu)
    target_precompile_headers(${name} REUSE_FROM torch_pch)
  endif()
endfunction()

# vmla_test(NAME SOURCES a_test.cpp ... LINK libs [NO_TORCH]): one gtest binary a folder, one ctest entry a test.
function(vmla_test name)
  cmake_parse_arguments(ARG "NO_TORCH" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE project_options ${ARG_LINK} GTest::gmock GTest::gtest GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  if(NOT ARG_NO_TORCH)
    target_link_libraries(${name} PRIVATE libtorch::cpu)
    target_precompile_headers(${name} REUSE_FROM torch_pch)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES
    ENVIRONMENT "OMP_WAIT_POLICY=PASSIVE;OMP_NUM_THREADS=1" LABELS unit)
endfunction()
