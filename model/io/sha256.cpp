#include "model/io/sha256.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/user_file.h"

namespace vmla::io {

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (context_ == nullptr ||
      EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr) != 1) {
    fail_run("libcrypto offers no SHA-256");
  }
}

Sha256::~Sha256() {
  EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_));
}

void Sha256::update(const void* bytes, size_t count) {
  EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes, count);
}

std::string Sha256::finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest, &length);
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * length);
  for (unsigned int i = 0; i < length; ++i) {
    text += kHex[digest[i] >> 4];
    text += kHex[digest[i] & 15];
  }
  return text;
}

std::string sha256_hex(const void* bytes, size_t count) {
  Sha256 hash;
  hash.update(bytes, count);
  return hash.finish();
}

std::string file_sha256(const std::filesystem::path& path) {
  const int fd = open_user_file(path);
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  ssize_t count = 0;
  do {
    count = read(fd, buffer.data(), buffer.size());
    if (count > 0) hash.update(buffer.data(), static_cast<size_t>(count));
  } while (count > 0 || (count < 0 && errno == EINTR));
  const int problem = errno;
  close(fd);
  if (count < 0) fail_user("cannot read {}: {}", path.string(), std::strerror(problem));
  return hash.finish();
}

}  // namespace vmla::io
