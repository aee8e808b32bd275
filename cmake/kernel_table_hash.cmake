# kernel_table_hash.h: a hash of the headers by which the program and the CUDA module talk to each other, compiled into
# both (kernels/cuda/kernel_table.h). The headers are found by following `#include "kernels/..."` from the roots, so a
# new one cannot be forgotten. Editing one runs CMake again.
set(_pending kernels/cuda/kernel_table.h trainer/distributed/collectives/nccl_engine.h)
set(_headers ${_pending})
while(_pending)
  list(POP_FRONT _pending _header)
  file(STRINGS ${PROJECT_SOURCE_DIR}/${_header} _includes REGEX "^#include \"kernels/")
  foreach(_line ${_includes})
    string(REGEX REPLACE "^#include \"(.*)\"$" "\\1" _included "${_line}")
    if(NOT _included IN_LIST _headers)
      list(APPEND _headers ${_included})
      list(APPEND _pending ${_included})
    endif()
  endforeach()
endwhile()
list(SORT _headers)
set(_hashes "")
foreach(_header ${_headers})
  file(SHA256 ${PROJECT_SOURCE_DIR}/${_header} _hash)
  string(APPEND _hashes "${_header} ${_hash}\n")
  set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${_header})
endforeach()
string(SHA256 _hash "${_hashes}")
# In a folder of its own, so that it can be an include directory. Written only when it changes.
set(VMLA_GENERATED_DIR ${PROJECT_BINARY_DIR}/generated)
file(CONFIGURE OUTPUT ${VMLA_GENERATED_DIR}/kernel_table_hash.h CONTENT
"#pragma once
/// Of the headers that the program and libvmla_cuda.so share (cmake/kernel_table_hash.cmake).
constexpr char kKernelTableHash[] = \"@_hash@\";
" @ONLY)
