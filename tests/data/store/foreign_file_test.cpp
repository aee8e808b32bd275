// Files of other programs, some of them made to harm.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <functional>

#include "data/store/hdf5_child.h"
#include "tests/data/store/edited_dataset.h"

namespace vmla::data {
namespace {

void expect_refused(const TemporaryFolder& folder,
                    const std::string& what,
                    const std::string& why,
                    const std::function<void(hid_t)>& edit) {
  const std::string said = complaint_after(folder, edit);
  EXPECT_NE(said.find("a.h5: " + what + ": "), std::string::npos) << said;
  EXPECT_NE(said.find(why), std::string::npos) << said;
}

void set_attribute(
    hid_t file, const char* name, hid_t type, std::vector<hsize_t> sizes, const void* values) {
  H5Adelete(file, name);
  const hid_t space = H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr);
  const hid_t made = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(made, type, values);
  H5Aclose(made), H5Sclose(space);
}

/// The HDF5 data of a dataset of four clips alone, as another program writes them.
std::string unsealed_bytes(const TemporaryFolder& folder) {
  write_dataset(folder / "a.h5", 4);
  const hid_t file = H5Fopen((folder / "a.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const double fps = 9;
  set_attribute(file, "fps", H5T_NATIVE_DOUBLE, {1}, &fps);
  H5Fclose(file);
  return file_bytes(folder / "a.h5");
}

TEST(ForeignFile, AUserBlockIsSkipped) {
  const TemporaryFolder folder;
  for (const size_t block : {size_t{512}, size_t{2048}}) {
    write_bytes(folder / "b.h5", std::string(block, 'x') + unsealed_bytes(folder));
    const LatentDataset dataset(folder / "b.h5");
    for (int64_t i = 0; i < 4; ++i) {
      EXPECT_TRUE(at::equal(dataset.latents(i), clip_values(i).to(at::kBFloat16).to(at::kFloat)));
      EXPECT_TRUE(at::equal(dataset.text(i), text_values(i)));
    }
  }
}

TEST(ForeignFile, ManyTextsInPlaceOfOneWriteNoMemory) {
  const TemporaryFolder folder;
  const hid_t varying = H5Tcopy(H5T_C_S1), fixed = H5Tcopy(H5T_C_S1);
  H5Tset_size(varying, H5T_VARIABLE), H5Tset_size(fixed, 64);
  const std::vector<const char*> texts(1000, "space_to_depth:2");
  const std::vector<char> wide(64 * 1000, 'x');
  expect_refused(folder, "codec", "single string", [&](hid_t file) {
    set_attribute(file, "codec", varying, {1000}, texts.data());
  });
  expect_refused(folder, "text_encoder", "single string", [&](hid_t file) {
    set_attribute(file, "text_encoder", fixed, {10, 100}, wide.data());
  });
  expect_refused(folder, "dtype", "single string", [&](hid_t file) {
    const hid_t set = H5Dopen2(file, "/latents", H5P_DEFAULT);
    set_attribute(set, "dtype", varying, {1000}, texts.data());
    H5Dclose(set);
  });
  const std::vector<double> rates(5, 8);
  expect_refused(folder, "fps", "1 number", [&](hid_t file) {
    set_attribute(file, "fps", H5T_NATIVE_DOUBLE, {5}, rates.data());
  });
  H5Tclose(varying), H5Tclose(fixed);
}

TEST(ForeignFile, NumbersThatMeanNothingAreRefused) {
  const TemporaryFolder folder;
  for (const double fps : {std::nan(""), 0.0, -8.0, double{INFINITY}}) {
    expect_refused(folder, "fps", "frames a second", [&](hid_t file) {
      set_attribute(file, "fps", H5T_NATIVE_DOUBLE, {1}, &fps);
    });
  }
  for (const int64_t size : {int64_t{0}, int64_t{-4}, int64_t{1} << 40}) {
    const int64_t pixels[2] = {4, size};
    expect_refused(folder, "pixel_size", "from 1 to", [&](hid_t file) {
      set_attribute(file, "pixel_size", H5T_NATIVE_INT64, {2}, pixels);
    });
    expect_refused(folder, "pixel_frames", "from 1 to", [&](hid_t file) {
      set_attribute(file, "pixel_frames", H5T_NATIVE_INT64, {1}, &size);
    });
  }
}

TEST(ForeignFile, NothingIsReadFromOtherFiles) {
  const TemporaryFolder folder;
  write_dataset(folder / "other.h5", 4);
  const std::string other = (folder / "other.h5").string();
  for (const char* name : {"/latents", "/captions", "/text"}) {
    expect_refused(folder, name, "link to another file", [&](hid_t file) {
      H5Ldelete(file, name, H5P_DEFAULT);
      H5Lcreate_external(other.c_str(), name, file, name, H5P_DEFAULT, H5P_DEFAULT);
    });
  }
  // By way of a link within the file.
  const std::string said = complaint_after(folder, [&](hid_t file) {
    H5Ldelete(file, "/captions", H5P_DEFAULT);
    H5Lcreate_external(other.c_str(), "/captions", file, "/away", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/away", file, "/captions", H5P_DEFAULT, H5P_DEFAULT);
  });
  EXPECT_NE(said.find("a.h5: /captions: cannot be opened"), std::string::npos) << said;
  expect_refused(folder, "/text/embeddings", "stored in another file", [&](hid_t file) {
    H5Ldelete(file, "/text/embeddings", H5P_DEFAULT);
    const hsize_t sizes[2] = {7, 4};
    const hid_t space = H5Screate_simple(2, sizes, nullptr), how = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(how, other.c_str(), 0, 7 * 4 * 4);
    H5Dclose(H5Dcreate2(
        file, "/text/embeddings", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, how, H5P_DEFAULT));
    H5Pclose(how), H5Sclose(space);
  });
  expect_refused(folder, "/latents", "stored in another file", [&](hid_t file) {
    H5Ldelete(file, "/latents", H5P_DEFAULT);
    const hsize_t sizes[5] = {4, 3, 12, 2, 2};
    const hid_t space = H5Screate_simple(5, sizes, nullptr), how = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_virtual(how, space, other.c_str(), "/latents", space);
    H5Dclose(H5Dcreate2(file, "/latents", H5T_NATIVE_UINT16, space, H5P_DEFAULT, how, H5P_DEFAULT));
    H5Pclose(how), H5Sclose(space);
  });
}

TEST(ForeignFile, AsksForNoMoreMemoryThanItsSizeNeeds) {
  const TemporaryFolder folder;
  const hid_t wide = H5Tcopy(H5T_C_S1);
  H5Tset_size(wide, 100000);
  expect_refused(folder, "/captions", "larger than the whole file", [&](hid_t file) {
    replace_dataset(file, "/captions", wide, {220000}, {1000});
  });
  expect_refused(folder, "/text/offsets", "larger than the whole file", [&](hid_t file) {
    replace_dataset(file, "/text/offsets", H5T_NATIVE_INT64, {hsize_t{1} << 40}, {1024});
  });
  H5Tclose(wide);
}

TEST(ForeignFile, OnlyRegularFilesAreOpened) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "a.h5").c_str(), 0600), 0);
  EXPECT_EQ(error_of<UserError>([&] { LatentDataset(folder / "a.h5"); }),
            (folder / "a.h5").string() + ": must be a file, is a pipe or device");
  EXPECT_NE(error_of<UserError>([&] { LatentDataset{folder.path()}; }).find("a pipe"),
            std::string::npos);
}

TEST(ForeignFile, SmallFilesHaveSmallLimits) {
  const Hdf5Limits small = hdf5_limits(30000), large = hdf5_limits(uint64_t{1} << 40);
  EXPECT_LT(small.processor_seconds, 1);
  EXPECT_LT(small.memory_bytes, uint64_t{300} << 20);
  EXPECT_LE(large.processor_seconds, 3600);
  EXPECT_GT(hdf5_limits(~uint64_t{0}).memory_bytes, uint64_t{1} << 50);  // no wrap around
}

}  // namespace
}  // namespace vmla::data
