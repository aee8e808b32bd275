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
  const auto hash_of = [&](double latent, double row) {
    LatentFileWriter writer(
        folder / "a.h5", info_of({3, 12, 2, 2}), {{"x", "v.mp4", 0, 1}}, kEmptyText);
    const at::Tensor clip = at::full({3, 12, 2, 2}, latent, at::kBFloat16),
                     text = at::full({1, 4}, row);
    writer.write_latents(0, static_cast<const uint16_t*>(clip.const_data_ptr()));
    writer.write_text(0, text.const_data_ptr<float>());
    writer.close();
    return LatentDataset(folder / "a.h5").identity().hash;
  };
  EXPECT_EQ(hash_of(1, 2), hash_of(1, 2));
  EXPECT_NE(hash_of(1, 2), hash_of(3, 2));
  EXPECT_NE(hash_of(1, 2), hash_of(1, 3));
}

}  // namespace
}  // namespace vmla::data
