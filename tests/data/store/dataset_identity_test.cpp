#include "data/store/dataset_identity.h"

#include <gtest/gtest.h>

#include "data/store/latent_dataset.h"
#include "tests/data/store/small_dataset.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

TEST(DatasetIdentity, IsThatOfTheClips) {
  const TemporaryFolder folder;
  const auto identity = [&](const char* name) { return LatentDataset(folder / name).identity(); };
  write_dataset(folder / "a.h5", 3);
  const DatasetIdentity a = identity("a.h5");
  EXPECT_EQ(a.clips, 3);
  EXPECT_EQ(a.hash.size(), 64u);

  fs::create_directory(folder / "set");
  fs::copy_file(folder / "a.h5", folder / "set/other_name.h5");
  EXPECT_EQ(identity("set"), a);
  write_dataset(folder / "set/z.h5", 1, 3);  // the folder grows
  EXPECT_EQ(identity("set").clips, 4);
  EXPECT_NE(identity("set").hash, a.hash);
  write_dataset(folder / "whole.h5", 4);
  write_dataset(folder / "b.h5", 3, 1);  // other clips, as many
  EXPECT_EQ(identity("b.h5").clips, 3);
  EXPECT_NE(identity("b.h5").hash, a.hash);
}

TEST(DatasetIdentity, SeesEachPartOfAClip) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 200);
  const DatasetIdentity a = LatentDataset(folder / "a.h5").identity();
  const at::Tensor last = clip_values(199).to(at::kBFloat16);
  std::string bytes = file_bytes(folder / "a.h5");
  const std::string latents(static_cast<const char*>(last.const_data_ptr()), last.nbytes());
  const size_t at = bytes.find(latents);
  ASSERT_NE(at, std::string::npos);
  bytes[at + 7] ^= 1;
  write_bytes(folder / "b.h5", bytes);
  EXPECT_NE(LatentDataset(folder / "b.h5").identity().hash, a.hash);
}

}  // namespace
}  // namespace vmla::data
