# libvmla.so: the network, its weights, codecs and samplers for programs of others, without OpenCV, HDF5 or a trainer.
# `cmake --install build --prefix DIR` installs it with its headers and a package for find_package(vmla).
set(_parts vmla_messages vmla_io vmla_plans vmla_formats vmla_gpu_driver vmla_kernels vmla_text vmla_codec_options vmla_codec vmla_model)
add_library(vmla_shared SHARED)
foreach(_part ${_parts})
  target_sources(vmla_shared PRIVATE $<TARGET_OBJECTS:${_part}>)
endforeach()
set_target_properties(vmla_shared PROPERTIES
  OUTPUT_NAME vmla EXPORT_NAME vmla VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  LINKER_LANGUAGE CXX LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
target_compile_features(vmla_shared INTERFACE cxx_std_20)
target_include_directories(vmla_shared INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/vmla>)
target_link_libraries(vmla_shared
  PUBLIC libtorch::cpu
  PRIVATE vmla_sentencepiece yaml-cpp OpenSSL::Crypto Threads::Threads ${CMAKE_DL_LIBS})
# A part that is missing from the list above ends this build, not that of a program that uses the library.
target_link_options(vmla_shared PRIVATE LINKER:--no-undefined)

include(CMakePackageConfigHelpers)
set(_package ${CMAKE_INSTALL_LIBDIR}/cmake/vmla)
configure_package_config_file(cmake/vmlaConfig.cmake.in ${PROJECT_BINARY_DIR}/vmlaConfig.cmake
  INSTALL_DESTINATION ${_package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/vmlaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(TARGETS vmla_shared EXPORT vmlaTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT library)
install(EXPORT vmlaTargets NAMESPACE vmla:: DESTINATION ${_package} COMPONENT library)
install(DIRECTORY kernels model DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/vmla COMPONENT library
  FILES_MATCHING PATTERN "*.h" PATTERN cuda EXCLUDE PATTERN python EXCLUDE)
install(FILES cmake/FindLibTorch.cmake ${PROJECT_BINARY_DIR}/vmlaConfig.cmake
  ${PROJECT_BINARY_DIR}/vmlaConfigVersion.cmake DESTINATION ${_package} COMPONENT library)
