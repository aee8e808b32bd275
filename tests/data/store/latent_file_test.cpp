#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <cerrno>
#include <cstring>

#include "data/store/latent_dataset.h"
#include "data/store/latent_file_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "tests/data/store/edited_dataset.h"
#include "tests/data/store/small_dataset.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

TEST(LatentFile, WhatWasWrittenIsRead) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 7);
  const LatentDataset dataset(folder / "a.h5");
  ASSERT_EQ(dataset.size(), 7);
  EXPECT_EQ(dataset.info(), info_of({3, 12, 2, 2}));
  EXPECT_EQ(dataset.max_text_rows(), 3);
  for (int64_t i = 0; i < 7; ++i) {
    EXPECT_TRUE(at::equal(dataset.latents(i), clip_values(i).to(at::kBFloat16).to(at::kFloat)));
    EXPECT_TRUE(at::equal(dataset.text(i), text_values(i)));
    EXPECT_EQ(dataset.caption(i), formatted("caption {} ünï", i));
    EXPECT_EQ(dataset.record(i).source_file, formatted("video{}.mp4", i));
    EXPECT_EQ(dataset.record(i).first_frame, 10 * i);
  }
  EXPECT_EQ(dataset.empty_text().sizes(), (at::IntArrayRef{1, 4}));
  EXPECT_EQ(dataset.empty_text()[0][0].item<float>(), 9);
  EXPECT_THROW(dataset.latents(7), c10::Error);
}

TEST(LatentFile, EqualContentIsEqualBytes) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 5);
  write_dataset(folder / "b.h5", 5);
  EXPECT_EQ(file_bytes(folder / "a.h5"), file_bytes(folder / "b.h5"));
}

TEST(LatentFile, AFolderIsOneDataset) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "set");
  write_dataset(folder / "set/a.h5", 3);
  write_dataset(folder / "set/b.h5", 4, 3);
  write_bytes(folder / "set/notes.txt", "not a dataset");
  const LatentDataset dataset(folder / "set");
  ASSERT_EQ(dataset.size(), 7);
  for (int64_t i = 0; i < 7; ++i) EXPECT_TRUE(at::equal(dataset.text(i), text_values(i)));
  write_dataset(folder / "set/c.h5", 1, 0, "space_to_depth:4");
  const std::string text = error_of<UserError>([&] { LatentDataset(folder / "set"); });
  EXPECT_NE(text.find("c.h5"), std::string::npos) << text;
  EXPECT_NE(text.find("space_to_depth:4"), std::string::npos) << text;
  fs::create_directory(folder / "none");
  EXPECT_THROW(LatentDataset(folder / "none"), UserError);
}

TEST(LatentFile, EveryTruncationIsNoticed) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 4);
  const std::string whole = file_bytes(folder / "a.h5");
  for (size_t keep = 0; keep < whole.size(); keep += 97) {
    write_bytes(folder / "cut.h5", whole.substr(0, keep));
    const std::string text = error_of<UserError>([&] { LatentDataset(folder / "cut.h5"); });
    EXPECT_NE(text.find("cut.h5"), std::string::npos) << keep << ": " << text;
  }
  EXPECT_THROW(LatentDataset(folder / "missing.h5"), UserError);
}

TEST(LatentFile, DamagedBytesNeverEndTheProgram) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 4);
  const std::string whole = file_bytes(folder / "a.h5");
  int refused = 0;
  for (size_t at = 0; at + 16 < whole.size(); at += 53) {
    std::string damaged = whole;
    damaged.replace(at, 16, std::string(16, at % 2 == 0 ? '\0' : '\xFF'));
    write_bytes(folder / "damaged.h5", damaged);
    try {
      const LatentDataset dataset(folder / "damaged.h5");
      for (int64_t i = 0; i < dataset.size(); ++i) dataset.latents(i), dataset.text(i);
    } catch (const UserError& error) {
      ++refused;
      EXPECT_NE(std::string(error.what()).find("damaged.h5"), std::string::npos) << error.what();
    }
  }
  EXPECT_GT(refused, 0);
}

TEST(LatentFile, WrongStructureIsNamed) {
  const TemporaryFolder folder;
  const auto expect = [&](const char* dataset, const char* what, const auto& edit) {
    const std::string text = complaint_after(folder, edit);
    EXPECT_NE(text.find("a.h5"), std::string::npos) << text;
    EXPECT_NE(text.find(dataset), std::string::npos) << text;
    EXPECT_NE(text.find(what), std::string::npos) << text;
  };
  for (const char* name : {"/captions", "/source", "/text/offsets", "/text/embeddings"}) {
    expect(name, "missing", [&](hid_t file) { H5Ldelete(file, name, H5P_DEFAULT); });
  }
  for (const char* name :
       {"format_version", "codec", "codec_hash", "text_encoder", "fps", "pixel_size"}) {
    expect(name, "missing", [&](hid_t file) { H5Adelete(file, name); });
  }
  expect("/latents", "holds 3 clips", [](hid_t file) {
    replace_dataset(file, "/latents", H5T_NATIVE_UINT16, {3, 3, 12, 2, 2}, {1, 3, 12, 2, 2});
  });
  expect("/latents", "16-bit", [](hid_t file) {
    replace_dataset(file, "/latents", H5T_NATIVE_FLOAT, {4, 3, 12, 2, 2}, {1, 3, 12, 2, 2});
  });
  expect("dtype", "missing", [](hid_t file) {
    replace_dataset(file, "/latents", H5T_NATIVE_UINT16, {4, 3, 12, 2, 2}, {2, 3, 12, 2, 2});
  });
  expect("/text/embeddings", "is [3, 4]", [](hid_t file) {
    replace_dataset(file, "/text/embeddings", H5T_NATIVE_FLOAT, {3, 4}, {});
  });
  expect("/text/offsets", "must grow", [](hid_t file) {
    replace_dataset(file, "/text/offsets", H5T_NATIVE_INT64, {5}, {});  // zeros
  });
}

TEST(LatentFile, WhatTheContractLeavesOpenMayBeMissing) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 4);
  const hid_t file = H5Fopen((folder / "a.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Ldelete(file, "/text/empty", H5P_DEFAULT);
  H5Adelete(file, "pixel_frames");
  // Captions of fixed length, as numpy's byte strings are stored.
  H5Ldelete(file, "/captions", H5P_DEFAULT);
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, 8);
  const hsize_t count = 4;
  const hid_t space = H5Screate_simple(1, &count, nullptr);
  const hid_t set =
      H5Dcreate2(file, "/captions", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  const char texts[4][8] = {"one", "two", "three", "seven77"};
  H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts);
  H5Dclose(set), H5Sclose(space), H5Tclose(type), H5Fclose(file);
  const LatentDataset dataset(folder / "a.h5");
  EXPECT_EQ(dataset.info().text_dim, 4);
  EXPECT_EQ(dataset.caption(2), "three");
  EXPECT_TRUE(at::equal(dataset.text(3), text_values(3)));
  EXPECT_NE(error_of<UserError>([&] { dataset.empty_text(); }).find("/text/empty"),
            std::string::npos);
}

TEST(LatentFile, AFailedWriteLeavesTheFileThatWasThere) {
  const TemporaryFolder folder;
  write_dataset(folder / "a.h5", 2);
  const std::string before = file_bytes(folder / "a.h5");
  // Every write, flush and rename in turn: a disk that is full from that moment on.
  int failed = 0;
  for (int k = 0;; ++k) {
    int seen = 0;
    io::set_fault_hook([&](std::string_view, const fs::path&) { return seen++ >= k ? ENOSPC : 0; });
    bool succeeded = true;
    try {
      write_dataset(folder / "a.h5", 5);
    } catch (const RunError& error) {
      succeeded = false;
      ++failed;
      EXPECT_NE(std::string(error.what()).find(std::strerror(ENOSPC)), std::string::npos)
          << error.what();
    }
    io::set_fault_hook(nullptr);
    if (succeeded) break;
    const bool renamed = file_bytes(folder / "a.h5") != before;
    if (renamed) break;  // only the folder's flush came after
  }
  EXPECT_GE(failed, 5 * 2 + 2);  // 5 clips of latents and text, the flush, the rename
  EXPECT_EQ(LatentDataset(folder / "a.h5").size(), 5);
}

}  // namespace
}  // namespace vmla::data
