#pragma once

#include <cstdint>
#include <string>

namespace vmla::launch {

/// Where the launcher of node 0 listens.
struct Endpoint {
  std::string host;  // a name, or an address without brackets
  int64_t port = 0;
};

/// "host:port" or "[::1]:port". UserError, which names --rdzv-endpoint, otherwise.
Endpoint parse_endpoint(const std::string& text);

}  // namespace vmla::launch
