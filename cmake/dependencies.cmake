# Everything that is not LibTorch, all of it from the distribution.
find_package(yaml-cpp REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(GTest REQUIRED)
find_package(Threads REQUIRED)
find_package(LibArchive REQUIRED)  # tar files of latents

# HDF5: the C API only. FindHDF5 would run compiler wrappers; pkg-config names are stable on Debian and Ubuntu.
find_package(PkgConfig REQUIRED)
pkg_check_modules(HDF5 REQUIRED IMPORTED_TARGET hdf5)

# Debian ships OpenCV's CMake files only with the full libopencv-dev; four of its libraries are all we use.
if(VMLA_WITH_OPENCV)
  find_path(OpenCV_INCLUDE_DIR opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
  add_library(vmla_opencv INTERFACE)
  target_include_directories(vmla_opencv SYSTEM INTERFACE ${OpenCV_INCLUDE_DIR})
  foreach(_module core imgproc imgcodecs videoio)
    find_library(OpenCV_${_module}_LIBRARY opencv_${_module} REQUIRED)
    target_link_libraries(vmla_opencv INTERFACE ${OpenCV_${_module}_LIBRARY})
  endforeach()
endif()

# Gloo's headers alone: the code is inside LibTorch, whose wheel ships none of them.
find_path(Gloo_INCLUDE_DIR gloo/context.h REQUIRED)

# SentencePiece splits prompts for UMT5. Its pkg-config file would link its trainer too.
find_path(SentencePiece_INCLUDE_DIR sentencepiece_processor.h REQUIRED)
find_library(SentencePiece_LIBRARY sentencepiece REQUIRED)
add_library(vmla_sentencepiece INTERFACE)
target_include_directories(vmla_sentencepiece SYSTEM INTERFACE ${SentencePiece_INCLUDE_DIR})
target_link_libraries(vmla_sentencepiece INTERFACE ${SentencePiece_LIBRARY})
