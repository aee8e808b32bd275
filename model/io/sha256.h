#pragma once

#include <cstddef>
#include <string>

namespace vmla::io {

/// SHA-256 of bytes that come in pieces: a file is hashed while it is written.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(const void* bytes, size_t count);
  /// The digest as 64 hex digits. May be called once, after the last update().
  std::string finish();

 private:
  void* context_;  // EVP_MD_CTX; opaque so that no OpenSSL header is needed here
};

/// SHA-256 of `bytes`, as 64 hex digits.
std::string sha256_hex(const void* bytes, size_t count);

}  // namespace vmla::io
