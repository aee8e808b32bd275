#include "data/import/lmdb_file.h"

#include <bit>
#include <cstring>

#include "model/io/error.h"

// The file is a sequence of pages, a B+ tree among them (liblmdb, mdb.c). Pages 0 and 1 say where
// its root is; the one with the larger transaction counts. All numbers are of the machine that
// wrote them.
//
//   page      u64 number, u16 unused, u16 kind, u16 end of the nodes' places, u16 begin of the
//   nodes,
//             then u16 places of the nodes, from the page's start
//   meta page behind 16 bytes: u32 magic, u32 version, u64 address, u64 map size, two tables of 48
//             bytes (the second is the main one), u64 last page, u64 transaction
//   table     u32 page size (of the first table), u16 flags, u16 depth, four u64 counts, u64 root
//   node      u16 lo, u16 hi, u16 flags, u16 bytes of the key, key, data; of a branch the child is
//             lo | hi << 16 | flags << 32, of a leaf the data has lo | hi << 16 bytes
//   overflow  a value of its own pages: 16 bytes, then the value in one piece
namespace vmla::data {
namespace {

static_assert(std::endian::native == std::endian::little, "LMDB files are read as they lie");

constexpr uint64_t kHead = 16, kNodeHead = 8;
constexpr uint16_t kBranch = 1, kLeaf = 2, kOverflow = 4, kMeta = 8;
constexpr uint16_t kBigData = 1;
constexpr uint32_t kMagic = 0xBEEFC0DE;
constexpr int kMostDepth = 32;

/// A little-endian number of `bytes` bytes.
uint64_t number_in(std::string_view text, uint64_t place, int bytes) {
  uint64_t value = 0;
  std::memcpy(&value, text.data() + place, static_cast<size_t>(bytes));
  return value;
}

}  // namespace

struct LmdbFile::Walk {
  const Visit& visit;
  uint64_t pages_left;
};

void LmdbFile::fail(const char* what) const {
  fail_user("{}: {}", path_, what);
}

uint64_t LmdbFile::number(uint64_t place, int bytes) const {
  return number_in(file_.view(), place, bytes);
}

LmdbFile::LmdbFile(const std::filesystem::path& path) : path_(path.string()), file_(path) {
  constexpr uint64_t kMagicAt = 16, kVersionAt = 20, kPageSizeAt = 40, kDepthAt = 94, kRootAt = 128;
  constexpr uint64_t kLastPageAt = 136, kTransactionAt = 144, kMetaBytes = 152;
  if (file_.size() < 2 * kMetaBytes || number(kMagicAt, 4) != kMagic)
    fail("is no LMDB file, or one of a machine with another byte order");
  page_bytes_ = number(kPageSizeAt, 4);
  if (page_bytes_ < 512 || page_bytes_ > 32768 || !std::has_single_bit(page_bytes_) ||
      file_.size() < 2 * page_bytes_) {
    fail("damaged: its page size is impossible, or the file is cut off");
  }
  uint64_t meta = 0;
  for (const uint64_t at : {uint64_t{0}, page_bytes_}) {
    if (number(at + kMagicAt, 4) != kMagic || number(at + kVersionAt, 4) != 1 ||
        (number(at + 10, 2) & kMeta) == 0) {
      fail("damaged, or of another version of LMDB: its first pages are not as they must be");
    }
    if (number(at + kTransactionAt, 8) > number(meta + kTransactionAt, 8)) meta = at;
  }
  pages_ = file_.size() / page_bytes_;
  if (number(meta + kLastPageAt, 8) >= pages_) fail("truncated: pages at its end are missing");
  depth_ = static_cast<int>(number(meta + kDepthAt, 2));
  root_ = number(meta + kRootAt, 8);
  if (depth_ > kMostDepth) fail("damaged: its tree is too deep");
}

std::string_view LmdbFile::page(uint64_t index, uint16_t kind) const {
  if (index >= pages_) fail("damaged: a page leads behind the end of the file");
  const std::string_view bytes = file_.view().substr(index * page_bytes_, page_bytes_);
  if (number_in(bytes, 0, 8) != index || (number_in(bytes, 10, 2) & 0xF) != kind)
    fail("damaged: a page is not what leads to it says");
  return bytes;
}

std::string_view LmdbFile::overflow_value(uint64_t index, uint64_t bytes) const {
  page(index, kOverflow);
  const uint64_t begin = index * page_bytes_ + kHead;
  if (bytes > file_.size() - begin) fail("damaged: a value reaches behind the end of the file");
  return file_.view().substr(begin, bytes);
}

void LmdbFile::visit_leaf(std::string_view leaf, uint64_t at, const Visit& visit) const {
  const uint64_t key_bytes = number_in(leaf, at + 6, 2);
  const uint64_t bytes = number_in(leaf, at, 4), flags = number_in(leaf, at + 4, 2);
  if (key_bytes > leaf.size() - at - kNodeHead) fail("damaged: a key reaches out of its page");
  const std::string_view key = leaf.substr(at + kNodeHead, key_bytes);
  const uint64_t data = at + kNodeHead + key_bytes;
  if (flags == kBigData) {
    if (leaf.size() - data < 8) fail("damaged: a value's page is not in its page");
    visit(key, overflow_value(number_in(leaf, data, 8), bytes));
  } else if (flags == 0) {
    if (bytes > leaf.size() - data) fail("damaged: a value reaches out of its page");
    visit(key, leaf.substr(data, bytes));
  }
}

void LmdbFile::visit_page(uint64_t index, int depth, Walk& walk) const {
  // A tree visits no page twice, so a file in which pages lead in circles comes to its end here.
  if (walk.pages_left-- == 0) fail("damaged: its pages lead in circles");
  const bool leaf = depth == 1;
  const std::string_view bytes = page(index, leaf ? kLeaf : kBranch);
  const uint64_t lower = number_in(bytes, 12, 2);
  if (lower < kHead || lower > bytes.size()) fail("damaged: a page says more nodes than it holds");
  for (uint64_t place = kHead; place + 2 <= lower; place += 2) {
    const uint64_t at = number_in(bytes, place, 2);
    if (at < lower || at > bytes.size() - kNodeHead) fail("damaged: a node lies out of its page");
    if (leaf) {
      visit_leaf(bytes, at, walk.visit);
    } else {
      visit_page(number_in(bytes, at, 6), depth - 1, walk);
    }
  }
}

void LmdbFile::for_each(const Visit& visit) const {
  if (depth_ == 0) return;
  Walk walk{.visit = visit, .pages_left = pages_};
  visit_page(root_, depth_, walk);
}

}  // namespace vmla::data
