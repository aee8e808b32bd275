#include "launch/launcher/endpoint.h"

#include "launch/options/parse_number.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

/// The host as it stands in front of the last colon, without its brackets. "" for an IPv6 address
/// without brackets, because its own colons leave open where it ends.
std::string host_of(const std::string& text) {
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    return text.substr(1, text.size() - 2);
  }
  return text.find(':') == std::string::npos ? text : "";
}

}  // namespace

Endpoint parse_endpoint(const std::string& text) {
  Endpoint endpoint;
  const size_t colon = text.rfind(':');
  if (colon != std::string::npos) {
    endpoint.host = host_of(text.substr(0, colon));
    endpoint.port = parse_number<int64_t>(text.substr(colon + 1)).value_or(0);
  }
  if (endpoint.host.empty() || endpoint.port < 1 || endpoint.port > 65535) {
    fail_user(
        "--rdzv-endpoint {}: not HOST:PORT with a port from 1 to 65535 (an IPv6 address goes in "
        "brackets)",
        text);
  }
  return endpoint;
}

}  // namespace vmla::launch
