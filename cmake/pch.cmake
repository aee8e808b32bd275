# The one precompiled header: the standard library and ATen. Every LibTorch target reuses it.
add_library(torch_pch OBJECT ${PROJECT_SOURCE_DIR}/cmake/pch.cpp)
target_link_libraries(torch_pch PRIVATE project_options libtorch::cpu)
target_precompile_headers(torch_pch PRIVATE
  <algorithm> <array> <cmath> <cstdint> <filesystem> <functional> <map> <memory> <optional> <string>
  <string_view> <tuple> <utility> <variant> <vector> <ATen/ATen.h>)
