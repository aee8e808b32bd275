#include "launch/launcher/peer_proof.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <initializer_list>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

constexpr size_t kShortest = 16, kLongest = 4096;  // of a token, in bytes

std::string hexadecimal(const unsigned char* bytes, size_t count) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < count; ++i) out += {kDigits[bytes[i] >> 4], kDigits[bytes[i] & 15]};
  return out;
}

/// The HMAC of texts, each behind its length, so that no two lists of texts are the same bytes.
std::string proof_of(const std::string& token, std::initializer_list<std::string> texts) {
  std::string bytes;
  for (const std::string& text : texts) bytes += std::to_string(text.size()) + ":" + text;
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  const auto* const data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto key_size = static_cast<int>(token.size());
  if (HMAC(EVP_sha256(), token.data(), key_size, data, bytes.size(), out.data(), &size) ==
      nullptr) {
    fail_run("cannot compute an HMAC-SHA256");
  }
  return hexadecimal(out.data(), size);
}

std::string read_token(const std::string& file) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) {
    fail_user("--rdzv-token-file {}: is no file", file);
  }
  std::ifstream in(file, std::ios::binary);
  std::string text(kLongest + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (!in.is_open() || in.bad()) {
    fail_user("--rdzv-token-file {}: cannot be read", file);
  }
  return text;
}

}  // namespace

std::string job_token(const std::string& file, const char* environment) {
  if (file.empty() && (environment == nullptr || *environment == '\0')) return {};
  const std::string text = file.empty() ? environment : read_token(file);
  const std::string blanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(blanks);
  const std::string token = begin == std::string::npos
                                ? ""
                                : text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
  if (token.size() >= kShortest && token.size() <= kLongest) return token;
  fail_user("{}: a token has {} to {} bytes, this one {}{}; try: openssl rand -hex 32",
            file.empty() ? kTokenVariable : "--rdzv-token-file " + file,
            kShortest,
            kLongest,
            token.size() > kLongest ? "more than " : "",
            std::min(token.size(), kLongest));
}

std::string random_nonce() {
  std::array<unsigned char, 32> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    fail_run("the system gives no random bytes");
  }
  return hexadecimal(bytes.data(), bytes.size());
}

std::string member_proof(const std::string& token,
                         const std::string& challenge,
                         const Hello& hello) {
  if (token.empty()) return {};
  return proof_of(token,
                  {"vmla-launch member",
                   challenge,
                   hello.nonce,
                   hello.version,
                   std::to_string(hello.node),
                   std::to_string(hello.nodes),
                   std::to_string(hello.workers),
                   hello.host});
}

std::string coordinator_proof(const std::string& token,
                              const std::string& challenge,
                              const std::string& nonce) {
  if (token.empty()) return {};
  return proof_of(token, {"vmla-launch node 0", challenge, nonce});
}

bool same_proof(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace vmla::launch
