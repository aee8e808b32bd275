# Named tensors in files, of whatever program: below the network and below the codecs, which read their weights with it.
vmla_library(vmla_formats
  HEADERS
    formats/network_choice.h
    formats/safetensors.h
    formats/stored_types.h
    formats/tensor_file.h
    formats/torch_file.h
    formats/weight_values.h
    formats/written_form.h
  SOURCES
    formats/network_choice.cpp
    formats/safetensors.cpp
    formats/stored_types.cpp
    formats/tensor_file.cpp
    formats/torch_file.cpp
    formats/weight_values.cpp
    formats/written_form.cpp
  PUBLIC vmla_io)
