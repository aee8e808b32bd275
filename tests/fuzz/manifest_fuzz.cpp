#include "model/io/checkpoint_manifest.h"
#include "model/io/sha256.h"
#include "tests/fuzz/fuzz.h"

namespace vmla {
namespace {

/// The text with the hash that it must carry, so that the parser comes past the check of the hash.
std::string with_its_hash(std::string_view text) {
  constexpr std::string_view kField = "\"manifest_sha256\"";
  std::string out(text);
  const size_t field = out.find(kField);
  const size_t first = field == std::string::npos ? field : out.find('"', field + kField.size());
  if (first == std::string::npos || out.size() < first + 65) return out;
  out.replace(first + 1, 64, 64, '0');
  out.replace(first + 1, 64, io::sha256_hex(out.data(), out.size()));
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text = with_its_hash(fuzz::as_text(data, size));
  io::CheckpointManifest manifest;
  if (!fuzz::accepts([&] { manifest = io::parse_manifest(text, "f"); })) return 0;
  const std::string again = io::manifest_text(manifest);
  fuzz::expect(io::manifest_text(io::parse_manifest(again, "f")) == again,
               "the same when read again");
  return 0;
}

}  // namespace vmla
