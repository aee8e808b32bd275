#include "model/io/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "model/io/safetensors_index.h"

namespace vmla::io {
namespace {

using testing::HasSubstr;

/// A file with this header text (and its length in front) and `data_bytes` zero bytes.
std::string file_with(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + std::string(data_bytes, '\0');
}

std::string problem_with(const std::string& file) {
  try {
    parse_safetensors_header(file, "w.safetensors");
  } catch (const UserError& problem) {
    EXPECT_THAT(problem.what(), HasSubstr("w.safetensors: "));
    EXPECT_EQ(std::string(problem.what()).find('\n'), std::string::npos);
    return problem.what();
  }
  return {};
}

TEST(SafetensorsHeader, ReadsTheFormat) {
  const std::string file = file_with(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
      R"("a":{"shape":[],"data_offsets":[0,4],"dtype":"F32"},"e":{"dtype":"I64","shape":[0,5],)"
      R"("data_offsets":[4,4]}}   )",
      16);
  const SafetensorsHeader header = parse_safetensors_header(file, "x");
  ASSERT_EQ(header.tensors.size(), 3u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[0].shape, std::vector<int64_t>{});
  EXPECT_EQ(header.tensors[1].name, "e");
  EXPECT_EQ(header.tensors[2].type, StoredType::bf16);
  EXPECT_EQ(header.tensors[2].begin, 4u);
  EXPECT_EQ(header.metadata.at("format"), "pt");
  EXPECT_EQ(header.data_start + 16, file.size());
  EXPECT_TRUE(parse_safetensors_header(file_with("{}", 0), "x").tensors.empty());
}

TEST(SafetensorsHeader, LaysOutWithoutHoles) {
  const std::string odd = "blocks.0 \"quoted\"\n\xc3\xa9/..";
  std::vector<StoredTensor> tensors = {{"u", StoredType::u8, {3}, 0, 0},
                                       {odd, StoredType::f64, {2, 1}, 0, 0},
                                       {"", StoredType::f32, {}, 0, 0},
                                       {"empty", StoredType::i64, {4, 0}, 0, 0}};
  const std::string head = lay_out_safetensors(tensors, {{"k\n", "v"}});
  EXPECT_EQ(head.size() % 8, 0u);
  const SafetensorsHeader back = parse_safetensors_header(head + std::string(16 + 4 + 3, 'x'), "x");
  ASSERT_EQ(back.tensors.size(), 4u);
  EXPECT_EQ(back.metadata.at("k\n"), "v");
  for (const StoredTensor& tensor : back.tensors) {
    EXPECT_EQ(tensor.begin % stored_type_bytes(tensor.type), 0u) << tensor.name;
    const auto same = std::ranges::find(tensors, tensor.name, &StoredTensor::name);
    ASSERT_NE(same, tensors.end());
    EXPECT_EQ(tensor.shape, same->shape);
    EXPECT_EQ(tensor.begin, same->begin);
    EXPECT_EQ(tensor.end, same->end);
  }
}

TEST(SafetensorsHeader, RefusesAndSaysWhy) {
  const auto tensor = [](const std::string& body) { return R"({"t":{)" + body + "}}"; };
  const std::string good = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  ASSERT_EQ(problem_with(file_with(tensor(good), 8)), "");
  struct Case {
    std::string file;
    const char* expected;
  };
  const Case cases[] = {
      {"", "too few"},
      {std::string(9, '\0'), "too few"},
      {std::string(16, '\xff'), "not a safetensors file"},
      {file_with("{}", 0).substr(0, 9), "too few"},
      {std::string("\x40\0\0\0\0\0\0\0{}", 10), "truncated"},
      {file_with("[1]", 0), "no JSON object"},
      {file_with("{ ", 0), "not valid JSON"},
      {file_with("{}x", 0), "not valid JSON"},
      {file_with("{\"a\xff\":1}", 0), "not valid JSON"},
      {file_with(std::string("{}\0", 3), 0), "not valid JSON"},
      {file_with(tensor(good), 7), "truncated"},
      {file_with(tensor(good), 9), "1 bytes follow the last tensor"},
      {file_with(R"({"t":1})", 0), "unexpected number"},
      {file_with(R"({"t":[1]})", 0), "a list where none belongs"},
      {file_with(R"({"t":null})", 0), "null"},
      {file_with(R"({"__metadata__":{"a":{}}})", 0), "an object where none belongs"},
      {file_with(R"({"__metadata__":{"a":1}})", 0), "unexpected number"},
      {file_with(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "twice"},
      {file_with(tensor(R"("dtype":"F32","shape":[2])"), 8), "has no data_offsets"},
      {file_with(tensor(good + R"(,"dtype":"F32")"), 8), "field 'dtype' is there twice"},
      {file_with(tensor(good + R"(,"x":1)"), 8), "unexpected field 'x'"},
      {file_with(R"({"t":{)" + good + R"(},"t":{)" + good + "}}", 8), "'t' is there twice"},
      {file_with(tensor(R"("dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8])"), 8), "F8_E4M3"},
      {file_with(tensor(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), 8), "has -2"},
      {file_with(tensor(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), 8), "'2.0'"},
      {file_with(tensor(R"("dtype":"F32","shape":[1e1],"data_offsets":[0,8])"), 8), "1e1"},
      {file_with(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0])"), 8), "two numbers"},
      {file_with(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,9])"), 8), "two numbers"},
      {file_with(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), 8), "needs 8 bytes"},
      {file_with(tensor(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), 8), "needs 12 bytes"},
      {file_with(tensor(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8])"), 8),
       "dimension"},
      {file_with(tensor(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8])"),
                 8),
       "impossible shape"},
      {file_with(tensor(R"("dtype":"F32","shape":[4611686018427387904,4,0],"data_offsets":[0,0])"),
                 0),
       "impossible shape"},
      {file_with(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[99999999999999999999,8])"), 8),
       "99999999999999999999"},
      {file_with(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                 R"("b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})",
                 7),
       "'b' overlaps"},
      {file_with(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                 R"("b":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}})",
                 9),
       "hole of 1 bytes"},
      {file_with(std::string(50'000, '{'), 0), "not valid JSON"},
      {file_with(R"({"a":{"dtype":"U8","shape":)" + std::string(50'000, '['), 0), "list"},
  };
  for (const Case& c : cases) EXPECT_THAT(problem_with(c.file), HasSubstr(c.expected));
}

// Whatever the bytes: either a one-line UserError, or a header whose ranges lie inside the file.
TEST(SafetensorsHeader, SurvivesMutations) {
  std::vector<StoredTensor> tensors = {
      {"blocks.0.self_attn.q.weight", StoredType::f32, {4, 3}, 0, 0},
      {"blocks.0.modulation", StoredType::bf16, {1, 6, 2}, 0, 0},
      {"flags", StoredType::boolean, {5}, 0, 0},
      {"none", StoredType::i64, {0}, 0, 0}};
  const std::string head = lay_out_safetensors(tensors, {{"format", "pt"}});
  const std::string file = head + std::string(48 + 24 + 5, '\x3c');
  ASSERT_EQ(problem_with(file), "");
  std::mt19937 random(7);
  const auto below = [&](size_t n) { return random() % n; };
  const std::string alphabet = "{}[]\",:0123456789-.eE nulltruefalse\\u\x80\xff";
  int refused = 0;
  for (int round = 0; round < 40'000; ++round) {
    std::string mutant = file;
    for (size_t edits = 1 + below(4); edits > 0; --edits) {
      const size_t at = below(std::min(mutant.size(), head.size() + 4));
      switch (below(6)) {
        case 0:
          mutant[at] = static_cast<char>(random());
          break;
        case 1:
          mutant[at] = alphabet[below(alphabet.size())];
          break;
        case 2:
          mutant.erase(at, 1 + below(8));
          break;
        case 3:
          mutant.insert(at, 1 + below(3), alphabet[below(alphabet.size())]);
          break;
        case 4:
          mutant.resize(below(mutant.size() + 8));
          break;
        default:
          mutant.insert(at, mutant.substr(below(mutant.size()), below(40)));
          break;
      }
      if (mutant.empty()) mutant = "x";
      // Keep the length right most of the time, or nothing behind it would ever be reached.
      if (mutant.size() > head.size() && below(4) != 0) {
        const uint64_t length = head.size() - 8 + (mutant.size() - file.size());
        if (length <= mutant.size() - 8) std::memcpy(mutant.data(), &length, 8);
      }
    }
    try {
      const SafetensorsHeader header = parse_safetensors_header(mutant, "w");
      for (const StoredTensor& tensor : header.tensors) {
        ASSERT_LE(tensor.begin, tensor.end);
        ASSERT_LE(header.data_start + tensor.end, mutant.size());
      }
    } catch (const UserError& problem) {
      ++refused;
      ASSERT_EQ(std::string(problem.what()).find('\n'), std::string::npos);
    }
  }
  EXPECT_GT(refused, 20'000);
  EXPECT_LT(refused, 40'000);  // harmless edits (of names, metadata, data) must still be read
}

TEST(SafetensorsIndex, RoundTripAndRefusals) {
  const std::map<std::string, std::string> map = {{"a", "m-1.safetensors"},
                                                  {"b", "m-2.safetensors"}};
  EXPECT_EQ(parse_safetensors_index(safetensors_index_json(map, 12), "i"), map);
  for (const char* text : {"",
                           "[]",
                           "{}",
                           R"({"weight_map":[]})",
                           R"({"weight_map":{}})",
                           R"({"weight_map":{"a":1}})",
                           R"({"weight_map":{"a":"../b"}})",
                           R"({"weight_map":{"a":"/etc/passwd"}})",
                           R"({"weight_map":{"a":""}})"}) {
    EXPECT_THROW(parse_safetensors_index(text, "i"), UserError) << text;
  }
}

TEST(QuotedName, IsOneShortLine) {
  EXPECT_EQ(quoted_name("a\n\x01z"), "'a\\x0a\\x01z'");
  EXPECT_LT(quoted_name(std::string(100'000, 'x')).size(), 200u);
}

}  // namespace
}  // namespace vmla::io
