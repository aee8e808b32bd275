#include "model/text/sentencepiece_model.h"

#include <bit>
#include <cmath>

#include "model/io/error.h"
#include "model/io/utf8.h"

namespace vmla::model {
namespace {

/// A field of a message in protobuf's wire format: a whole number, or bytes.
struct Field {
  uint64_t number = 0;
  uint64_t value = 0;      // of wire type 0
  std::string_view bytes;  // of wire type 2, and the four bytes of type 5
  bool is_bytes = false;
};

/// Reads the fields of a message one after another. Throws Damaged where a length or number does
/// not fit; fields of other wire types are passed over.
class WireReader {
 public:
  struct Damaged {};

  explicit WireReader(std::string_view message) : rest_(message) {}

  /// False at the end.
  bool next(Field& field) {
    if (rest_.empty()) return false;
    const uint64_t tag = number();
    field = {};
    field.number = tag >> 3;
    if (field.number == 0) throw Damaged();
    switch (tag & 7) {
      case 0:
        field.value = number();
        break;
      case 1:
        take(8);
        break;
      case 2:
        field.is_bytes = true;
        field.bytes = take(number());
        break;
      case 5:
        field.bytes = take(4);
        break;
      default:
        throw Damaged();
    }
    return true;
  }

 private:
  uint64_t number() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    throw Damaged();
  }
  std::string_view take(uint64_t count) {
    if (count > rest_.size()) throw Damaged();
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_;
};

uint32_t word_at(std::string_view bytes, size_t place) {
  const auto* const at = reinterpret_cast<const unsigned char*>(bytes.data()) + place;
  return static_cast<uint32_t>(at[0]) | static_cast<uint32_t>(at[1]) << 8 |
         static_cast<uint32_t>(at[2]) << 16 | static_cast<uint32_t>(at[3]) << 24;
}

/// Why the table that maps characters to their normal form cannot be followed; null for a good one.
/// It is [bytes of the trie, 4 bytes] [trie] [texts, each ended by a zero byte]. The trie is a
/// double array of 32-bit units (Darts): a unit's offset and the next byte of the text, both by
/// exclusive or, give the place of the next unit; a unit with its highest bit set holds the place
/// of a text.
const char* fault_of_character_map(std::string_view map) {
  constexpr uint32_t kIsValue = 1u << 31, kLongOffset = 1u << 9;
  if (map.empty()) return nullptr;
  if (map.size() < 4) return "is cut off";
  const uint64_t trie_bytes = word_at(map, 0);
  if (trie_bytes > map.size() - 4 || trie_bytes % 4 != 0 || trie_bytes < 1024)
    return "says a wrong size";
  const std::string_view texts = map.substr(4 + trie_bytes);
  if (texts.empty() || texts.back() != '\0') return "does not end its texts";
  const uint64_t units = trie_bytes / 4;
  for (uint64_t i = 0; i < units; ++i) {
    const uint32_t unit = word_at(map, 4 + 4 * i);
    if ((unit & kIsValue) != 0) {
      if ((unit & ~kIsValue) >= texts.size()) return "names a text behind its end";
      continue;
    }
    const uint32_t offset = (unit >> 10) << ((unit & kLongOffset) != 0 ? 8 : 0);
    // The next byte of a text changes the lowest eight bits only.
    if (((i ^ offset) | 0xFF) >= units) return "leads out of itself";
  }
  return nullptr;
}

/// A piece's score, which the library adds up and compares.
float score_of(const Field& field) {
  if (field.is_bytes || field.bytes.size() != 4) throw WireReader::Damaged();
  return std::bit_cast<float>(word_at(field.bytes, 0));
}

SentencePiece read_piece(std::string_view message) {
  SentencePiece piece;
  WireReader reader(message);
  for (Field field; reader.next(field);) {
    if (field.number == 1 && field.is_bytes) piece.text = field.bytes;
    if (field.number == 2 && !std::isfinite(score_of(field))) throw WireReader::Damaged();
    if (field.number == 3 && !field.is_bytes) {
      if (field.value < 1 || field.value > 6) throw WireReader::Damaged();
      piece.type = static_cast<PieceType>(field.value);
    }
  }
  return piece;
}

void check_trainer(std::string_view message, const std::string& path) {
  constexpr uint64_t kUnigram = 1;
  WireReader reader(message);
  for (Field field; reader.next(field);) {
    if (field.number == 3 && !field.is_bytes && field.value != kUnigram) {
      fail_user(
          "{}: this SentencePiece model is of kind {}; T5's tokenizers are of kind 1, unigram",
          path,
          field.value);
    }
  }
}

void check_normalizer(std::string_view message, const std::string& path) {
  WireReader reader(message);
  for (Field field; reader.next(field);) {
    if (field.number != 2 || !field.is_bytes) continue;
    if (const char* const fault = fault_of_character_map(field.bytes))
      fail_user("{}: damaged: the table that normalises characters {}", path, fault);
  }
}

SentencePieceModel read_model(std::string_view bytes, const std::string& path) {
  SentencePieceModel model;
  WireReader reader(bytes);
  for (Field field; reader.next(field);) {
    if (field.number <= 5 && !field.is_bytes) throw WireReader::Damaged();
    if (field.number == 1) model.pieces.push_back(read_piece(field.bytes));
    if (field.number == 2) check_trainer(field.bytes, path);
    if (field.number == 3 || field.number == 5) check_normalizer(field.bytes, path);
  }
  return model;
}

}  // namespace

SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const std::string& path) {
  SentencePieceModel model;
  try {
    model = read_model(bytes, path);
  } catch (const WireReader::Damaged&) {
    model.pieces.clear();
  }
  if (model.pieces.empty()) {
    fail_user("{}: is no SentencePiece model, or damaged; umt5's is called spiece.model", path);
  }
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const std::string_view text = model.pieces[id].text;
    if (text.empty() || io::first_bad_text_byte(text))
      fail_user("{}: damaged: the text of piece {} is empty or no UTF-8", path, id);
  }
  return model;
}

}  // namespace vmla::model
