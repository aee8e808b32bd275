#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vmla::model {

/// What a piece of a SentencePiece model is; the numbers are those of the file.
enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown = 2,      // stands for whatever no piece covers
  kControl = 3,      // has no text: "</s>"
  kUserDefined = 4,  // is never cut
  kUnused = 5,
  kByte = 6  // one byte of what no piece covers: "<0x41>"
};

/// One piece; its place in the list is its id.
struct SentencePiece {
  std::string_view text;
  PieceType type = PieceType::kNormal;
};

/// The parts of a SentencePiece model file (`spiece.model`, `tokenizer.model`) that decide whether
/// it can be used. Views into the file's bytes.
struct SentencePieceModel {
  std::vector<SentencePiece> pieces;
};

/// Reads a model file's `bytes` and checks that libsentencepiece can be trusted with them: that
/// library follows the numbers of the table for normalising text without looking where they lead.
/// UserError, beginning with `path`, for what is no SentencePiece model, is damaged, or is of
/// another kind than "unigram".
SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const std::string& path);

}  // namespace vmla::model
