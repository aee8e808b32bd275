#include "data/store/file_seal.h"

#include <algorithm>
#include <cstring>
#include <fstream>

#include "model/io/error.h"
#include "model/io/sha256.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

// A seal is the left-out ranges, 16 bytes each, and this footer. Its size and its ranges are part
// of what is hashed.
struct Footer {
  uint64_t sealed_bytes;  // the file's size without the seal
  uint64_t ranges;        // number of left-out ranges
  char hash[64];
  char magic[8];
};
constexpr char kMagic[8] = {'v', 'm', 'l', 'a', 's', 'e', 'a', 'l'};
// A damaged footer must not ask for all of the memory.
constexpr uint64_t kMostRanges = uint64_t{1} << 20;

/// Hash of the first `bytes` bytes of `in` without `ranges` (sorted, disjoint), then of the ranges;
/// empty if the file is too short.
std::string hash_without(std::ifstream& in, uint64_t bytes, const std::vector<ByteRange>& ranges) {
  io::Sha256 hash;
  std::vector<char> buffer(size_t{1} << 16);
  uint64_t at = 0;
  const auto take_until = [&](uint64_t end) {
    in.seekg(static_cast<std::streamoff>(at));
    while (at < end) {
      const auto count = std::min<uint64_t>(buffer.size(), end - at);
      if (!in.read(buffer.data(), static_cast<std::streamsize>(count))) return false;
      hash.update(buffer.data(), count);
      at += count;
    }
    return true;
  };
  for (const ByteRange& range : ranges) {
    if (range.first < at || range.second < range.first || range.second > bytes) return {};
    if (!take_until(range.first)) return {};
    at = range.second;
  }
  if (!take_until(bytes)) return {};
  hash.update(&bytes, sizeof bytes);
  hash.update(ranges.data(), ranges.size() * sizeof(ByteRange));
  return hash.finish();
}

}  // namespace

std::string make_seal(const fs::path& path, std::vector<ByteRange> unsealed) {
  std::sort(unsealed.begin(), unsealed.end());
  std::vector<ByteRange> ranges;  // the same, sorted, those that touch joined
  for (const ByteRange& range : unsealed) {
    if (range.first == range.second) continue;
    if (!ranges.empty() && ranges.back().second == range.first) {
      ranges.back().second = range.second;
    } else {
      ranges.push_back(range);
    }
  }
  Footer footer = {};
  footer.sealed_bytes = fs::file_size(path);
  footer.ranges = ranges.size();
  std::ifstream in(path, std::ios::binary);
  const std::string hash = hash_without(in, footer.sealed_bytes, ranges);
  if (hash.size() != sizeof footer.hash) fail_run("cannot read back {}", path.string());
  std::memcpy(footer.hash, hash.data(), sizeof footer.hash);
  std::memcpy(footer.magic, kMagic, sizeof kMagic);
  std::string seal(reinterpret_cast<const char*>(ranges.data()), ranges.size() * sizeof(ByteRange));
  seal.append(reinterpret_cast<const char*>(&footer), sizeof footer);
  return seal;
}

Seal check_seal(const fs::path& path) {
  std::error_code missing;
  const uint64_t bytes = fs::file_size(path, missing);
  Footer footer;
  if (missing || bytes < sizeof footer) return Seal::kNone;
  std::ifstream in(path, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(bytes - sizeof footer));
  if (!in.read(reinterpret_cast<char*>(&footer), sizeof footer)) return Seal::kNone;
  if (std::memcmp(footer.magic, kMagic, sizeof kMagic) != 0) return Seal::kNone;
  const bool sizes_fit =
      footer.ranges <= kMostRanges && footer.sealed_bytes <= bytes &&
      bytes - footer.sealed_bytes == footer.ranges * sizeof(ByteRange) + sizeof footer;
  if (!sizes_fit) return Seal::kBroken;
  std::vector<ByteRange> ranges(footer.ranges);
  in.seekg(static_cast<std::streamoff>(footer.sealed_bytes));
  in.read(reinterpret_cast<char*>(ranges.data()),
          static_cast<std::streamsize>(ranges.size() * sizeof(ByteRange)));
  if (!in) return Seal::kBroken;
  const std::string hash = hash_without(in, footer.sealed_bytes, ranges);
  const bool good =
      hash.size() == sizeof footer.hash && std::memcmp(hash.data(), footer.hash, hash.size()) == 0;
  return good ? Seal::kGood : Seal::kBroken;
}

}  // namespace vmla::data
