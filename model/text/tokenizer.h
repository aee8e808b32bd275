#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace vmla::model {

/// The tokenizer of T5's relatives from a SentencePiece model file: the ids that transformers'
/// T5Tokenizer gives for the same file. The file's own normalisation is applied. Characters that no
/// piece covers become one unknown id a run, also where the model could spell them as bytes,
/// because that is what the encoders were trained on. Names of special pieces in a prompt
/// ("</s>", "<pad>") are ordinary text here, not special ids. Encoding is safe from several
/// threads.
class Tokenizer {
 public:
  static constexpr int64_t kPadId = 0, kEndId = 1;

  /// `path`: the model file, or a folder that holds it as spiece.model or tokenizer.model.
  /// UserError if there is none, it is damaged, or has not "<pad>" as piece 0 and "</s>" as
  /// piece 1.
  explicit Tokenizer(const std::filesystem::path& path);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;

  /// Ids of a cleaned prompt (prompt_cleaning.h), at most `most_ids` of them (1 or more); the last
  /// is kEndId.
  std::vector<int64_t> encode(const std::string& prompt, int64_t most_ids) const;

  int64_t size() const { return size_; }  // ids are below it
  /// The model file.
  const std::filesystem::path& path() const { return path_; }
  /// SHA-256 (hex) of the model file.
  const std::string& hash() const { return hash_; }

 private:
  struct Processor;
  std::filesystem::path path_;
  std::string hash_;
  int64_t size_ = 0, unknown_id_ = 0;
  std::vector<bool> is_byte_;  // by id
  std::unique_ptr<Processor> processor_;
};

}  // namespace vmla::model
