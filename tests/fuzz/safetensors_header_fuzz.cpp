#include "model/io/safetensors_header.h"
#include "tests/fuzz/fuzz.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view file = fuzz::as_text(data, size);
  io::SafetensorsHeader header;
  if (!fuzz::accepts([&] { header = io::parse_safetensors_header(file, "f"); })) return 0;
  // What was read can be written and read again.
  const size_t tensors = header.tensors.size();
  std::string again = io::lay_out_safetensors(header.tensors, header.metadata);
  const uint64_t bytes = header.tensors.empty() ? 0 : header.tensors.back().end;
  fuzz::expect(bytes <= size, "the tensors lie in the file");
  again.append(bytes, '\0');
  fuzz::expect(io::parse_safetensors_header(again, "f").tensors.size() == tensors, "same tensors");
  return 0;
}

}  // namespace vmla
