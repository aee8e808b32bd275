#include "model/text/tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>

#include "model/io/error.h"
#include "model/io/mapped_file.h"
#include "model/io/quoted_name.h"
#include "model/io/sha256.h"
#include "model/text/sentencepiece_model.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

/// The model file that `path` names.
fs::path model_file(const fs::path& path) {
  std::error_code none;
  if (!fs::is_directory(path, none)) return path;
  for (const char* const name : {"spiece.model", "tokenizer.model"}) {
    if (fs::exists(path / name, none)) return path / name;
  }
  fail_user(
      "{}: holds neither spiece.model nor tokenizer.model; give the SentencePiece model of "
      "the tokenizer",
      path.string());
}

/// T5's encoders were trained with fixed ids for padding and for the end of a text.
void check_special_piece(const SentencePieceModel& model,
                         int64_t id,
                         std::string_view text,
                         const std::string& path) {
  const auto index = static_cast<size_t>(id);
  const bool right = index < model.pieces.size() && model.pieces[index].text == text &&
                     model.pieces[index].type == PieceType::kControl;
  if (right) return;
  fail_user(
      "{}: piece {} is {}; umt5's tokenizer has the control piece '{}' there: this is the "
      "tokenizer of another encoder",
      path,
      id,
      index < model.pieces.size() ? io::quoted_name(model.pieces[index].text) : "missing",
      text);
}

}  // namespace

struct Tokenizer::Processor {
  sentencepiece::SentencePieceProcessor pieces;
};

Tokenizer::Tokenizer(const fs::path& path)
    : path_(model_file(path)), processor_(std::make_unique<Processor>()) {
  const io::MappedFile file(path_);
  const SentencePieceModel model = parse_sentencepiece_model(file.view(), path_.string());
  check_special_piece(model, kPadId, "<pad>", path_.string());
  check_special_piece(model, kEndId, "</s>", path_.string());
  const auto status = processor_->pieces.LoadFromSerializedProto({file.data(), file.size()});
  if (!status.ok()) fail_user("{}: damaged: {}", path_.string(), status.ToString());
  size_ = static_cast<int64_t>(model.pieces.size());
  unknown_id_ = processor_->pieces.unk_id();
  for (const SentencePiece& piece : model.pieces)
    is_byte_.push_back(piece.type == PieceType::kByte);
  hash_ = io::sha256_hex(file.data(), file.size());
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

std::vector<int64_t> Tokenizer::encode(const std::string& prompt, int64_t most_ids) const {
  std::vector<int> pieces;
  const auto status = processor_->pieces.Encode(prompt, &pieces);
  if (!status.ok()) fail_user("{}: cannot split a prompt: {}", path_.string(), status.ToString());
  std::vector<int64_t> ids;
  bool was_byte = false;
  for (const int piece : pieces) {
    const bool is_byte = is_byte_[static_cast<size_t>(piece)];
    if (!(is_byte && was_byte)) ids.push_back(is_byte ? unknown_id_ : piece);
    was_byte = is_byte;
  }
  ids.resize(std::min(ids.size(), static_cast<size_t>(most_ids - 1)));
  ids.push_back(kEndId);
  return ids;
}

}  // namespace vmla::model
