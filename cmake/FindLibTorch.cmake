# Finds LibTorch inside a Python wheel (or any folder with include/ and lib/), without find_package(Torch),
# which would force CUDA on and wants Python at configure time.
#
# Hints, in this order: LibTorch_ROOT, $ENV{VMLA_TORCH}, the Python given as LibTorch_PYTHON, the project's
# own venv, the active python3. Targets: libtorch::c10, libtorch::cpu, and libtorch::cuda where the library exists.

set(_hints ${LibTorch_ROOT} $ENV{VMLA_TORCH})
foreach(_python ${LibTorch_PYTHON} ${PROJECT_SOURCE_DIR}/.venv/bin/python python3)
  execute_process(
    COMMAND ${_python} -c "import importlib.util as u; s = u.find_spec('torch'); print(list(s.submodule_search_locations)[0] if s else '')"
    OUTPUT_VARIABLE _found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(_found)
    list(APPEND _hints ${_found})
  endif()
endforeach()

find_path(LibTorch_INCLUDE_DIR ATen/ATen.h HINTS ${_hints} PATH_SUFFIXES include NO_DEFAULT_PATH)
if(LibTorch_INCLUDE_DIR)
  get_filename_component(LibTorch_DIR_FOUND "${LibTorch_INCLUDE_DIR}" DIRECTORY)
  set(_version_file ${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h)
  if(EXISTS ${_version_file})
    file(STRINGS ${_version_file} _lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
    string(REGEX REPLACE "[^0-9;]" "" _numbers "${_lines}")
    string(REPLACE ";" "." LibTorch_VERSION "${_numbers}")
  endif()
endif()
foreach(_lib torch_cpu c10 torch_cuda c10_cuda)
  find_library(LibTorch_${_lib}_LIBRARY ${_lib} HINTS ${LibTorch_DIR_FOUND} PATH_SUFFIXES lib NO_DEFAULT_PATH)
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_INCLUDE_DIR LibTorch_torch_cpu_LIBRARY LibTorch_c10_LIBRARY
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run launch/setup, or point VMLA_TORCH at the torch/ folder of torch 2.11")

function(_libtorch_import name library)
  if(NOT TARGET libtorch::${name})
    add_library(libtorch::${name} SHARED IMPORTED)
    set_target_properties(libtorch::${name} PROPERTIES
      IMPORTED_LOCATION ${library}
      INTERFACE_INCLUDE_DIRECTORIES "${LibTorch_INCLUDE_DIR};${LibTorch_INCLUDE_DIR}/torch/csrc/api/include")
  endif()
endfunction()

if(LibTorch_FOUND)
  _libtorch_import(c10 ${LibTorch_c10_LIBRARY})
  _libtorch_import(cpu ${LibTorch_torch_cpu_LIBRARY})
  set_property(TARGET libtorch::cpu PROPERTY INTERFACE_LINK_LIBRARIES libtorch::c10)
  if(LibTorch_torch_cuda_LIBRARY AND LibTorch_c10_cuda_LIBRARY)
    _libtorch_import(c10_cuda ${LibTorch_c10_cuda_LIBRARY})
    _libtorch_import(cuda ${LibTorch_torch_cuda_LIBRARY})
    set_property(TARGET libtorch::cuda PROPERTY INTERFACE_LINK_LIBRARIES "libtorch::cpu;libtorch::c10_cuda")
    # The linker would drop torch_cuda silently: nothing references it, its kernels register themselves.
    set_property(TARGET libtorch::cuda PROPERTY INTERFACE_LINK_OPTIONS "LINKER:--no-as-needed;LINKER:--allow-shlib-undefined")
  endif()
endif()
