#include "data/store/file_seal.h"

#include <openssl/sha.h>

#include <algorithm>
#include <cstring>

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

constexpr size_t kDigestBytes = SHA256_DIGEST_LENGTH;
struct DigestEnd {
  uint64_t clips;
  uint64_t kinds;  // bit k: there are digests of ClipNumbers k
  char magic[8];
};
constexpr char kDigestMagic[8] = {'v', 'm', 'l', 'a', 'd', 'g', 's', 't'};

/// Hash of the first `bytes` bytes of the file without `ranges` (sorted, disjoint), then of the
/// ranges; empty if the file is too short.
std::string hash_without(const RegularFile& file,
                         uint64_t bytes,
                         const std::vector<ByteRange>& ranges) {
  io::Sha256 hash;
  std::vector<char> buffer(size_t{1} << 16);
  uint64_t at = 0;
  const auto take_until = [&](uint64_t end) {
    while (at < end) {
      const auto count = std::min<uint64_t>(buffer.size(), end - at);
      if (!file.read(at, buffer.data(), count)) return false;
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

/// Notes where the digests lie before `end`, if the file has some.
void find_digests(const RegularFile& file, uint64_t end, SealState& state) {
  DigestEnd last;
  if (end < sizeof last || !file.read(end - sizeof last, &last, sizeof last)) return;
  if (std::memcmp(last.magic, kDigestMagic, sizeof kDigestMagic) != 0) return;
  uint64_t left = end - sizeof last;
  for (int kind = 2; kind >= 0; --kind) {
    if ((last.kinds >> kind & 1) == 0) continue;
    if (last.clips == 0 || last.clips > left / kDigestBytes) return;
    left -= last.clips * kDigestBytes;
    state.digests_at[kind] = left;
  }
  state.clips = last.clips;
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
  const RegularFile file(path);
  footer.sealed_bytes = file.bytes();
  footer.ranges = ranges.size();
  const std::string hash = hash_without(file, footer.sealed_bytes, ranges);
  if (hash.size() != sizeof footer.hash) fail_run("cannot read back {}", path.string());
  std::memcpy(footer.hash, hash.data(), sizeof footer.hash);
  std::memcpy(footer.magic, kMagic, sizeof kMagic);
  std::string seal(reinterpret_cast<const char*>(ranges.data()), ranges.size() * sizeof(ByteRange));
  seal.append(reinterpret_cast<const char*>(&footer), sizeof footer);
  return seal;
}

SealState check_seal(const RegularFile& file) {
  SealState state;
  const uint64_t bytes = file.bytes();
  Footer footer;
  if (bytes < sizeof footer) return state;
  if (!file.read(bytes - sizeof footer, &footer, sizeof footer)) return state;
  if (std::memcmp(footer.magic, kMagic, sizeof kMagic) != 0) return state;
  state.seal = Seal::kBroken;
  const bool sizes_fit =
      footer.ranges <= kMostRanges && footer.sealed_bytes <= bytes &&
      bytes - footer.sealed_bytes == footer.ranges * sizeof(ByteRange) + sizeof footer;
  if (!sizes_fit) return state;
  std::vector<ByteRange> ranges(footer.ranges);
  if (!file.read(footer.sealed_bytes, ranges.data(), ranges.size() * sizeof(ByteRange))) {
    return state;
  }
  const std::string hash = hash_without(file, footer.sealed_bytes, ranges);
  if (hash.size() != sizeof footer.hash ||
      std::memcmp(hash.data(), footer.hash, hash.size()) != 0) {
    return state;
  }
  state.seal = Seal::kGood;
  state.hash = hash;
  find_digests(file, footer.sealed_bytes, state);
  return state;
}

bool is_as_written(const RegularFile& file,
                   const SealState& state,
                   ClipNumbers what,
                   size_t clip,
                   const void* bytes,
                   size_t count) {
  const uint64_t first = state.digests_at[static_cast<int>(what)];
  if (first == 0) return true;
  unsigned char written[kDigestBytes], found[kDigestBytes];
  if (clip >= state.clips || !file.read(first + clip * kDigestBytes, written, kDigestBytes)) {
    return false;
  }
  SHA256(static_cast<const unsigned char*>(bytes), count, found);
  return std::memcmp(written, found, kDigestBytes) == 0;
}

ClipDigests::ClipDigests(size_t clips, bool latents, bool ode) : clips_(clips) {
  // A clip that is never written keeps zeros, which are the digest of nothing known.
  digests_[static_cast<int>(ClipNumbers::kText)].resize(clips * kDigestBytes);
  if (latents) digests_[static_cast<int>(ClipNumbers::kLatents)].resize(clips * kDigestBytes);
  if (ode) digests_[static_cast<int>(ClipNumbers::kOde)].resize(clips * kDigestBytes);
}

void ClipDigests::set(ClipNumbers what, size_t clip, const void* bytes, size_t count) {
  std::string& digests = digests_[static_cast<int>(what)];
  auto* digest = reinterpret_cast<unsigned char*>(digests.data()) + clip * kDigestBytes;
  SHA256(static_cast<const unsigned char*>(bytes), count, digest);
}

std::string ClipDigests::bytes() const {
  if (clips_ == 0) return {};
  DigestEnd end = {.clips = clips_, .kinds = 0, .magic = {}};
  std::memcpy(end.magic, kDigestMagic, sizeof kDigestMagic);
  std::string bytes;
  for (int kind = 0; kind < 3; ++kind) {
    if (digests_[kind].empty()) continue;
    end.kinds |= uint64_t{1} << kind;
    bytes += digests_[kind];
  }
  return bytes.append(reinterpret_cast<const char*>(&end), sizeof end);
}

}  // namespace vmla::data
