#include "launch/launcher/control_message.h"
#include "tests/fuzz/fuzz.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  launch::ControlMessage message;
  const std::string line(fuzz::as_text(data, size));
  if (!fuzz::accepts([&] { message = launch::decode(line); })) return 0;
  const std::string again = launch::encode(message);
  fuzz::expect(launch::encode(launch::decode(again)) == again, "the same when read again");
  return 0;
}

}  // namespace vmla
