#include "model/text/sentencepiece_model.h"
#include "tests/fuzz/fuzz.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view file = fuzz::as_text(data, size);
  model::SentencePieceModel model;
  if (!fuzz::accepts([&] { model = model::parse_sentencepiece_model(file, "f"); })) return 0;
  fuzz::expect(!model.pieces.empty(), "a model has pieces");
  size_t bytes = 0;
  for (const model::SentencePiece& piece : model.pieces) {
    fuzz::expect(
        piece.text.empty() || (piece.text.data() >= file.data() &&
                               piece.text.data() + piece.text.size() <= file.data() + file.size()),
        "the pieces' texts lie in the file");
    bytes += piece.text.size();
  }
  fuzz::expect(bytes <= size, "no byte belongs to two pieces");
  return 0;
}

}  // namespace vmla
