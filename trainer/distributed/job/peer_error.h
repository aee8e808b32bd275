#pragma once

#include <stdexcept>

namespace vmla::distributed {

/// Another rank, or the job's store, is gone or does not answer. Whoever sees this is a victim:
/// the root cause is another rank's error, or its death (error_claim.h).
class PeerError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline bool is_of_peer(const std::exception& error) {
  return dynamic_cast<const PeerError*>(&error) != nullptr;
}

}  // namespace vmla::distributed
