#include <algorithm>
#include <cstring>
#include <vector>

#include "model/io/zip_file.h"
#include "tests/fuzz/fuzz.h"

/// The 64-bit records of a zip archive. Mutations of a whole archive seldom keep its parts where
/// each of them says that the next one is; so a sound archive of one entry is built here around the
/// input, which gives the numbers of those records. The first 56 bytes are: size, packed size and
/// place of the entry; entries, bytes and place of the directory; place of the end record, relative
/// to where they should be, so that zeros are right. What follows is the entry's content.
namespace vmla {
namespace {

constexpr size_t kNumbers = 7;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::string archive_around(const uint64_t (&off_by)[kNumbers], std::string_view content) {
  std::string out;
  const auto shared = [&] {  // version, flags, method, time, date, CRC, sizes, length of the name
    for (const uint16_t field : {45, 0x800, 0, 0, 0x21}) put<uint16_t>(out, field);
    put<uint32_t>(out, 0);
    put<uint32_t>(out, UINT32_MAX);
    put<uint32_t>(out, UINT32_MAX);
    put<uint16_t>(out, 1);
  };
  put<uint32_t>(out, 0x04034b50);
  shared();
  put<uint16_t>(out, 0);
  out += 'a';
  out += content;
  const uint64_t directory = out.size();
  put<uint32_t>(out, 0x02014b50);
  put<uint16_t>(out, 45);
  shared();
  put<uint16_t>(out, 28);
  for (int i = 0; i < 3; ++i) put<uint16_t>(out, 0);
  put<uint32_t>(out, 0);
  put<uint32_t>(out, UINT32_MAX);
  out += 'a';
  put<uint16_t>(out, 1);  // the field with the 64-bit numbers, of 24 bytes
  put<uint16_t>(out, 24);
  put<uint64_t>(out, content.size() + off_by[0]);
  put<uint64_t>(out, content.size() + off_by[1]);
  put<uint64_t>(out, off_by[2]);
  const uint64_t end = out.size();
  put<uint32_t>(out, 0x06064b50);
  put<uint64_t>(out, 44);
  put<uint16_t>(out, 45);
  put<uint16_t>(out, 45);
  put<uint64_t>(out, 0);
  put<uint64_t>(out, 1);
  put<uint64_t>(out, 1 + off_by[3]);
  put<uint64_t>(out, end - directory + off_by[4]);
  put<uint64_t>(out, directory + off_by[5]);
  put<uint32_t>(out, 0x07064b50);
  put<uint32_t>(out, 0);
  put<uint64_t>(out, end + off_by[6]);
  put<uint32_t>(out, 1);
  put<uint32_t>(out, 0x06054b50);
  put<uint32_t>(out, 0);
  for (int i = 0; i < 2; ++i) put<uint16_t>(out, UINT16_MAX);
  for (int i = 0; i < 2; ++i) put<uint32_t>(out, UINT32_MAX);
  put<uint16_t>(out, 0);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint64_t off_by[kNumbers] = {};
  const size_t numbers = std::min(size, sizeof off_by);
  std::memcpy(off_by, data, numbers);
  const std::string_view content = fuzz::as_text(data + numbers, size - numbers);
  const std::string file = archive_around(off_by, content);
  std::vector<io::ZipEntry> entries;
  const bool accepted = fuzz::accepts([&] { entries = io::parse_zip(file, "f"); });
  const bool sound = std::all_of(data, data + numbers, [](uint8_t byte) { return byte == 0; });
  fuzz::expect(accepted || !sound, "a sound archive is read");
  if (!accepted) return 0;
  for (const io::ZipEntry& entry : entries) {
    fuzz::expect(entry.begin <= entry.end && entry.end <= file.size(),
                 "the entries lie in the file");
  }
  if (sound)
    fuzz::expect(entries.size() == 1 && entries[0].end - entries[0].begin == content.size(),
                 "the entry is as long as its content");
  return 0;
}

}  // namespace vmla
