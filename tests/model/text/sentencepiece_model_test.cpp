#include "model/text/sentencepiece_model.h"

#include <gtest/gtest.h>

#include <bit>
#include <string>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::model {
namespace {

/// A field of bytes in protobuf's wire format.
std::string field(int number, const std::string& bytes) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  size_t size = bytes.size();
  for (; size >= 128; size >>= 7) out += static_cast<char>((size & 127) | 128);
  return out + static_cast<char>(size) + bytes;
}

std::string number(int of_field, char value) {
  return {static_cast<char>(of_field << 3), value};
}

std::string word(uint32_t value) {
  std::string bytes;
  for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

std::string score(float value) {
  return static_cast<char>(2 << 3 | 5) + word(std::bit_cast<uint32_t>(value));
}

std::string piece(const std::string& text, char type, float its_score = -1) {
  return field(1, field(1, text) + score(its_score) + number(3, type));
}

/// A table that maps characters: 256 units, one of which is `unit`.
std::string normalizer(uint32_t unit, const std::string& texts = std::string("a\0b\0", 4)) {
  std::string units;
  for (int i = 0; i < 256; ++i) units += word(i == 7 ? unit : 0);
  return field(3, field(2, word(static_cast<uint32_t>(units.size())) + units + texts));
}

const std::string kPieces =
    piece("<pad>", 3, 0) + piece("</s>", 3, 0) + piece("<unk>", 2, 0) + piece("\u2581a", 1);

std::string error_of_model(const std::string& bytes) {
  return error_of<UserError>([&] { parse_sentencepiece_model(bytes, "x.model"); });
}

TEST(SentencePieceModel, PiecesAreReadInOrder) {
  const std::string bytes =
      kPieces + piece("<0x41>", 6) + field(2, number(3, 1)) + normalizer(1u << 31 | 3);
  const SentencePieceModel model = parse_sentencepiece_model(bytes, "x.model");
  ASSERT_EQ(model.pieces.size(), 5u);
  EXPECT_EQ(model.pieces[1].text, "</s>");
  EXPECT_EQ(model.pieces[1].type, PieceType::kControl);
  EXPECT_EQ(model.pieces[3].text, "\u2581a");
  EXPECT_EQ(model.pieces[4].type, PieceType::kByte);
}

TEST(SentencePieceModel, EveryCutIsRefused) {
  // Cut between two fields a message is whole, so its last field is one.
  const std::string bytes = field(2, number(3, 1)) + field(1, field(1, "abc") + score(-1));
  for (size_t size = 0; size < bytes.size(); ++size) {
    if (size == 4) continue;  // the first field alone: no pieces, refused below
    EXPECT_NE(error_of_model(bytes.substr(0, size)).find("x.model: is no SentencePiece model"),
              std::string::npos)
        << size;
  }
}

TEST(SentencePieceModel, WhatTheLibraryWouldFollowBlindlyIsRefused) {
  EXPECT_NE(error_of_model(kPieces + normalizer(1u << 31 | 4)).find("names a text behind its end"),
            std::string::npos);
  // An offset of 256 units leads behind the table's 256.
  EXPECT_NE(error_of_model(kPieces + normalizer(256u << 10)).find("leads out of itself"),
            std::string::npos);
  EXPECT_NE(error_of_model(kPieces + normalizer(1u << 10 | 1u << 9)).find("leads out of itself"),
            std::string::npos);
  EXPECT_NE(error_of_model(kPieces + normalizer(0, "ab")).find("does not end its texts"),
            std::string::npos);
  EXPECT_NE(error_of_model(kPieces + field(3, field(2, word(99)))).find("wrong size"),
            std::string::npos);
  EXPECT_NE(error_of_model(kPieces + piece("x", 1, std::bit_cast<float>(0x7FC00000u)))
                .find("no SentencePiece model"),
            std::string::npos);
  EXPECT_NE(error_of_model(kPieces + piece("", 1)).find("piece 4"), std::string::npos);
  EXPECT_NE(error_of_model(kPieces + field(2, number(3, 2))).find("of kind 2"), std::string::npos);
  EXPECT_NE(error_of_model(field(2, number(3, 1))).find("no SentencePiece model"),
            std::string::npos);
}

}  // namespace
}  // namespace vmla::model
