#include "model/formats/safetensors.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/safetensors_header.h"
#include "model/io/safetensors_index.h"
#include "tests/support/temporary_folder.h"

namespace vmla::model {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class SafetensorsTest : public testing::Test {
 protected:
  ~SafetensorsTest() override { io::set_fault_hook(nullptr); }
  TemporaryFolder folder_;
};

bool bit_equal(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  const at::Tensor x = a.contiguous(), y = b.contiguous();
  return x.nbytes() == 0 || std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

TensorMap all_kinds() {
  const at::Tensor base = at::arange(24, at::kDouble).reshape({2, 3, 4}) / 7 - 1;
  TensorMap tensors;
  for (const auto type : {at::kDouble,
                          at::kFloat,
                          at::kHalf,
                          at::kBFloat16,
                          at::kLong,
                          at::kInt,
                          at::kShort,
                          at::kChar}) {
    tensors[formatted("type {}", type)] = (base * 7).to(type);
  }
  tensors["u8"] = at::arange(5, at::kByte);
  tensors["bool"] = at::arange(3).ne(1);
  tensors["transposed"] = base.to(at::kFloat).transpose(0, 2);
  tensors["strided"] = base.to(at::kFloat).select(1, 1);
  tensors["expanded"] = at::ones({1}).expand({4, 2});
  tensors["scalar"] = at::scalar_tensor(2.5, at::kFloat);
  tensors["empty"] = at::empty({0, 3});
  tensors["nan"] = at::full({2}, NAN);
  tensors["gradient"] = at::ones({2}).requires_grad_();
  tensors["\"odd\"\n\xc3\xa9 name"] = at::ones({1});
  return tensors;
}

TEST_F(SafetensorsTest, RoundTripIsBitExact) {
  const TensorMap tensors = all_kinds();
  const WrittenFile written =
      write_safetensors(folder_ / "a.safetensors", tensors, {{"format", "pt"}});
  EXPECT_EQ(written.bytes, fs::file_size(folder_ / "a.safetensors"));
  EXPECT_EQ(written.sha256, io::file_sha256(folder_ / "a.safetensors"));
  const SafetensorsFile back = read_safetensors(folder_ / "a.safetensors");
  EXPECT_EQ(back.metadata, (TensorMetadata{{"format", "pt"}}));
  ASSERT_EQ(back.tensors.size(), tensors.size());
  ASSERT_EQ(written.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_TRUE(bit_equal(tensor.detach(), back.tensors.at(name))) << name;
    EXPECT_FALSE(back.tensors.at(name).requires_grad());
  }
  // Written offsets are where the bytes really are.
  const std::string bytes = io::read_text_file(folder_ / "a.safetensors");
  for (const WrittenTensor& place : written.tensors) {
    const at::Tensor data = tensors.at(place.name).detach().contiguous();
    ASSERT_EQ(place.bytes, data.nbytes()) << place.name;
    if (place.bytes == 0) continue;
    EXPECT_EQ(std::memcmp(bytes.data() + place.offset, data.const_data_ptr(), place.bytes), 0);
  }
}

TEST_F(SafetensorsTest, TheSameTensorsGiveTheSameFile) {
  const auto first = write_safetensors(folder_ / "a", all_kinds(), {{"a", "1"}, {"b", "2"}});
  const auto second = write_safetensors(folder_ / "b", all_kinds(), {{"b", "2"}, {"a", "1"}});
  EXPECT_EQ(first.sha256, second.sha256);
}

TEST_F(SafetensorsTest, TensorsShareTheMappingAndOutliveTheFile) {
  write_safetensors(folder_ / "a", {{"x", at::arange(1000, at::kFloat)}, {"y", at::ones({3})}});
  SafetensorsFile file = read_safetensors(folder_ / "a");
  const at::Tensor x = file.tensors.at("x"), y = file.tensors.at("y");
  // Neighbours in one mapping: nothing was copied.
  EXPECT_EQ(
      static_cast<const char*>(y.const_data_ptr()) - static_cast<const char*>(x.const_data_ptr()),
      4000);
  file.tensors.clear();
  fs::remove(folder_ / "a");
  EXPECT_EQ(x.sum().item<float>(), 499500.f);
}

/// Writes a header of our own choice: files that other programs may write.
void write_raw(const fs::path& path, const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string text(8, '\0');
  std::memcpy(text.data(), &length, 8);
  io::write_file_atomically(path, text + header + data);
}

TEST_F(SafetensorsTest, MisalignedAndBooleanDataAreCopied) {
  // A header of odd length puts every tensor at an odd address.
  const std::string header = R"({"f":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("b":{"dtype":"BOOL","shape":[3],"data_offsets":[8,11]}})";
  const float values[2] = {1.5f, -2.25f};
  std::string data(reinterpret_cast<const char*>(values), 8);
  data += std::string("\x00\x02\xff", 3);
  for (const std::string pad : {"", " ", "  ", "   "}) {
    write_raw(folder_ / "odd", header + pad, data);
    const TensorMap tensors = read_safetensors(folder_ / "odd").tensors;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensors.at("f").const_data_ptr()) % 4, 0u);
    EXPECT_TRUE(at::equal(tensors.at("f"), at::tensor({1.5f, -2.25f})));
    EXPECT_TRUE(at::equal(tensors.at("b"), at::tensor({0, 1, 1}).to(at::kBool)));
  }
}

template <class F>
std::string user_error(F&& f) {
  try {
    f();
  } catch (const UserError& problem) {
    return problem.what();
  }
  return {};
}

TEST_F(SafetensorsTest, EveryTruncationIsRefused) {
  const fs::path path = folder_ / "a.safetensors";
  write_safetensors(path, {{"x", at::ones({3, 5})}, {"y", at::ones({2}, at::kLong)}});
  const std::string bytes = io::read_text_file(path);
  for (size_t length = 0; length < bytes.size(); ++length) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(length));
    EXPECT_THAT(user_error([&] { read_safetensors(path); }), HasSubstr("a.safetensors")) << length;
  }
}

TEST_F(SafetensorsTest, NamesWhatItCannotRead) {
  EXPECT_THAT(user_error([&] { read_safetensors(folder_ / "none"); }),
              HasSubstr("none: No such file or directory"));
  EXPECT_THAT(user_error([&] { read_safetensors(folder_.path()); }), HasSubstr("a folder"));
  io::write_file_atomically(folder_ / "text", "this is no tensor file");
  EXPECT_THAT(user_error([&] { read_safetensors(folder_ / "text"); }),
              HasSubstr("not a safetensors"));
}

TEST_F(SafetensorsTest, AFaultLeavesTheOldFile) {
  const fs::path path = folder_ / "a";
  write_safetensors(path, {{"x", at::zeros({4})}});
  for (int k = 0; k < 4; ++k) {  // header, data, flush, rename
    io::set_fault_hook([k, count = 0](std::string_view, const fs::path&) mutable {
      return count++ == k ? ENOSPC : 0;
    });
    EXPECT_THROW(write_safetensors(path, {{"x", at::ones({4})}}), RunError) << k;
    io::set_fault_hook(nullptr);
    EXPECT_EQ(read_safetensors(path).tensors.at("x").sum().item<float>(), 0.f);
  }
}

TEST_F(SafetensorsTest, RefusesWhatTheFormatCannotHold) {
  EXPECT_ANY_THROW(write_safetensors(folder_ / "a", {{"c", at::zeros({2}, at::kComplexFloat)}}));
  EXPECT_ANY_THROW(write_safetensors(folder_ / "a", {{"__metadata__", at::zeros({2})}}));
  EXPECT_ANY_THROW(write_safetensors(folder_ / "a", {{"u", at::Tensor()}}));
  EXPECT_ANY_THROW(write_safetensors(folder_ / "a", {{"bad \xff utf-8", at::zeros({2})}}));
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(SafetensorsTest, ReadsShardsThroughTheIndex) {
  write_safetensors(folder_ / "m-1.safetensors", {{"a", at::ones({2})}, {"b", at::zeros({1})}});
  write_safetensors(folder_ / "m-2.safetensors", {{"c", at::full({3}, 4.f)}});
  const fs::path index = folder_ / "m.safetensors.index.json";
  const auto write_index = [&](const std::map<std::string, std::string>& map) {
    io::write_file_atomically(index, io::safetensors_index_json(map, 24));
  };
  const std::string one = "m-1.safetensors", two = "m-2.safetensors";
  write_index({{"a", one}, {"b", one}, {"c", two}});
  for (const fs::path& path : {folder_.path(), index}) {
    const TensorMap tensors = read_safetensors_sharded(path).tensors;
    ASSERT_EQ(tensors.size(), 3u);
    EXPECT_EQ(tensors.at("c").sum().item<float>(), 12.f);
  }
  const auto problem = [&] {
    return user_error([&] { read_safetensors_sharded(folder_.path()); });
  };
  write_index({{"a", one}, {"c", two}});
  EXPECT_THAT(problem(), HasSubstr("'b', the index does not name it"));
  write_index({{"a", one}, {"b", two}, {"c", two}});
  EXPECT_THAT(problem(), HasSubstr("'b'"));
  write_index({{"a", one}, {"b", one}, {"c", two}, {"d", two}});
  EXPECT_THAT(problem(), HasSubstr("'d' is not in m-2.safetensors"));
  write_index({{"a", one}, {"b", one}, {"c", "m-3.safetensors"}});
  EXPECT_THAT(problem(), HasSubstr("m-3.safetensors: No such file"));
  fs::remove(index);
  EXPECT_THAT(problem(), HasSubstr("2 .safetensors files and 0 indexes"));
  fs::remove(folder_ / two);
  EXPECT_EQ(read_safetensors_sharded(folder_.path()).tensors.size(), 2u);
}

}  // namespace
}  // namespace vmla::model
