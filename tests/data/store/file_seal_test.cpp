#include "data/store/file_seal.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include "data/store/latent_dataset.h"
#include "model/io/error.h"
#include "tests/data/store/small_dataset.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace {

void read_all(const std::filesystem::path& path) {
  const LatentDataset dataset(path);
  for (int64_t i = 0; i < dataset.size(); ++i) dataset.latents(i), dataset.text(i);
}

TEST(FileSeal, EveryFlippedBitIsNoticed) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 4);
  const std::string whole = file_bytes(folder / "a.h5");
  const auto path = folder / "flipped.h5";
  // The bytes of a clip, a text, a digest and all of the rest in steps; a bit at a time.
  std::vector<size_t> places;
  for (size_t at = 0; at < whole.size(); at += 97) places.push_back(at);
  const at::Tensor clip = clip_values(2).to(at::kBFloat16), text = text_values(2);
  const auto place_of = [&](const at::Tensor& values) {
    return whole.find(
        std::string(static_cast<const char*>(values.const_data_ptr()), values.nbytes()));
  };
  ASSERT_NE(place_of(clip), std::string::npos);
  ASSERT_NE(place_of(text), std::string::npos);
  for (size_t i = 0; i < 16; ++i) {
    places.push_back(place_of(clip) + i * 17);
    places.push_back(place_of(text) + i * 2);
    places.push_back(whole.size() - 1 - i * 23);
  }
  for (const size_t at : places) {
    std::string flipped = whole;
    flipped[at] ^= static_cast<char>(1 << at % 8);
    write_bytes(path, flipped);
    const std::string said = error_of<UserError>([&] { read_all(path); });
    EXPECT_NE(said.find("flipped.h5"), std::string::npos) << at;
  }
}

TEST(FileSeal, SaysWhichClipIsDamagedAndReadsTheOthers) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 4);
  std::string bytes = file_bytes(folder / "a.h5");
  const at::Tensor clip = clip_values(2).to(at::kBFloat16);
  bytes[bytes.find(std::string(static_cast<const char*>(clip.const_data_ptr()), clip.nbytes()))] ^=
      1;
  write_bytes(folder / "a.h5", bytes);
  const LatentDataset dataset(folder / "a.h5");
  EXPECT_TRUE(dataset.has_digests());
  for (const int64_t i : {0, 1, 3}) {
    EXPECT_TRUE(at::equal(dataset.latents(i), clip_values(i).to(at::kBFloat16).to(at::kFloat)));
  }
  EXPECT_EQ(
      error_of<UserError>([&] { dataset.latents(2); }),
      (folder / "a.h5").string() +
          ": /latents: clip 2 is damaged: it is not what was written; make the dataset again");
}

TEST(FileSeal, AClipIsComparedAgainAfterTheFileWasChanged) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "a.h5";
  write_dataset(path, 4);
  const LatentDataset dataset(path);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // so that clips count as compared
  for (int64_t i = 0; i < 4; ++i) dataset.latents(i);
  const std::string whole = file_bytes(path);
  const at::Tensor clip = clip_values(2).to(at::kBFloat16);
  const size_t place =
      whole.find(std::string(static_cast<const char*>(clip.const_data_ptr()), clip.nbytes()));
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(place));
    file.put(static_cast<char>(whole[place] ^ 1));
  }
  dataset.latents(1);
  const std::string damaged = "clip 2 is damaged";
  EXPECT_NE(error_of<UserError>([&] { dataset.latents(2); }).find(damaged), std::string::npos);
}

TEST(FileSeal, OlderFilesWithoutDigestsAreRead) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 4);
  const std::string whole = file_bytes(folder / "a.h5");
  // The footer: sealed bytes, number of ranges, hash, magic; before it the ranges.
  uint64_t sealed = 0, count = 0;
  std::memcpy(&sealed, whole.data() + whole.size() - 88, 8);
  std::memcpy(&count, whole.data() + whole.size() - 80, 8);
  std::vector<ByteRange> ranges(count);
  std::memcpy(static_cast<void*>(ranges.data()), whole.data() + sealed, count * sizeof(ByteRange));
  const uint64_t digests = 2 * 4 * 32 + 24;
  write_bytes(folder / "old.h5", whole.substr(0, sealed - digests));
  const std::string seal = make_seal(folder / "old.h5", ranges);
  write_bytes(folder / "old.h5", whole.substr(0, sealed - digests) + seal);
  const LatentDataset old(folder / "old.h5");
  EXPECT_FALSE(old.has_digests());
  for (int64_t i = 0; i < 4; ++i) EXPECT_TRUE(at::equal(old.text(i), text_values(i)));
  // Without any seal, as of another program.
  write_bytes(folder / "bare.h5", whole.substr(0, sealed - digests));
  EXPECT_TRUE(at::equal(LatentDataset(folder / "bare.h5").text(3), text_values(3)));
}

}  // namespace
}  // namespace vmla::data
