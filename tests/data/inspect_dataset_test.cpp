#include "data/inspect/inspect_dataset.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "data/store/latent_dataset.h"
#include "tests/data/store/small_dataset.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace {

/// A dataset of one clip, all of it this number.
void write_constant(const std::filesystem::path& path, double value, const std::string& caption) {
  LatentFileWriter writer(path, info_of({3, 12, 2, 2}), {{caption, "v.mp4", 0, 1}}, kEmptyText);
  const at::Tensor clip = at::full({3, 12, 2, 2}, value, at::kBFloat16), text = at::ones({1, 4});
  writer.write_latents(0, static_cast<const uint16_t*>(clip.const_data_ptr()));
  writer.write_text(0, text.const_data_ptr<float>());
  writer.close();
}

DatasetInspection inspection_of(const std::filesystem::path& path, bool full = false) {
  const LatentDataset dataset(path);
  DatasetInspection found = inspect_dataset(dataset, path.string(), full);
  found.captions.clear();  // they point into the dataset
  return found;
}

TEST(InspectDataset, FindsNumbersThatNoCodecGives) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 3);
  EXPECT_TRUE(inspection_of(folder / "a.h5").problems.empty());
  EXPECT_EQ(inspection_of(folder / "a.h5").verdict, "sound\n");
  write_constant(folder / "nan.h5", std::nan(""), "x");
  DatasetInspection found = inspection_of(folder / "nan.h5");
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_EQ(found.problems[0], "clip 0 (v.mp4): 144 latents are NaN or infinite");
  write_constant(folder / "large.h5", 1e30, "x");
  found = inspection_of(folder / "large.h5");
  ASSERT_EQ(found.problems.size(), 1u);
  EXPECT_EQ(found.problems[0], "clip 0 (v.mp4): latents reach 1e+30, which no codec gives");
}

TEST(InspectDataset, NamesEachDamagedClip) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 5);
  std::string bytes = file_bytes(folder / "a.h5");
  for (const int64_t clip : {1, 3}) {
    const at::Tensor values = clip_values(clip).to(at::kBFloat16);
    const std::string latents(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
    bytes[bytes.find(latents) + 5] ^= 2;
  }
  write_bytes(folder / "a.h5", bytes);
  const DatasetInspection found = inspection_of(folder / "a.h5", true);
  ASSERT_EQ(found.problems.size(), 2u);
  EXPECT_NE(found.problems[0].find("clip 1 (video1.mp4): "), std::string::npos);
  EXPECT_NE(found.problems[1].find("/latents: clip 3 is damaged"), std::string::npos);
}

TEST(InspectDataset, PrintsNoControlCharacterOfTheFile) {
  const TemporaryFolder folder;
  write_constant(folder / "a.h5", 0, "red\x1b[2J\xc2\x9b ünï");
  const std::string text = inspection_of(folder / "a.h5").text;
  EXPECT_NE(text.find("red\\x1b[2J"), std::string::npos) << text;
  EXPECT_NE(text.find("ünï"), std::string::npos);
  for (const char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
}

}  // namespace
}  // namespace vmla::data
