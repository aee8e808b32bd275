#include "launch/error_report.h"

#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <typeinfo>
#include <variant>

#include "model/io/error.h"
#include "model/io/log.h"

namespace vmla::launch {
namespace {

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

/// The disk's or the machine's state, which no other path would mend.
bool is_lack_of_space(const std::error_code& code) {
  return code == std::errc::no_space_on_device || code == std::errc::io_error ||
         code == std::errc::too_many_files_open;
}

}  // namespace

int report_fault(const std::string& message) {
  log::error("vmla: error: {}", first_line(message));
  return kFault;
}

ExceptionLine line_of(const std::exception& error) {
  // Our own messages are one line. Those of libraries go on with what is for a debugger.
  if (dynamic_cast<const UserError*>(&error) != nullptr) return {error.what(), kWrongInput};
  if (dynamic_cast<const RunError*>(&error) != nullptr) return {error.what(), kFault};
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return {"out of memory", kFault};
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error)) {
    const auto& path = file->path1().empty() ? file->path2() : file->path1();
    return {formatted("cannot use {}: {}; check the path and its permissions",
                      path.empty() ? std::string("a file or folder") : path.string(),
                      file->code().message()),
            is_lack_of_space(file->code()) ? kFault : kWrongInput};
  }
  // Contracts of the standard library: what() names a function of it, which says nothing to a user.
  if (dynamic_cast<const std::logic_error*>(&error) != nullptr ||
      dynamic_cast<const std::bad_variant_access*>(&error) != nullptr ||
      dynamic_cast<const std::bad_cast*>(&error) != nullptr) {
    return {
        formatted("a fault of the program ({}); please report it with the command that led here",
                  first_line(error.what())),
        kFault};
  }
  return {first_line(error.what()), kFault};
}

int report_exception() {
  try {
    throw;
  } catch (const StopRequested& stop) {
    log::warn("vmla: stopped: {}", stop.what());
    return kStopped;
  } catch (const std::exception& error) {
    const ExceptionLine line = line_of(error);
    log::error("vmla: error: {}", line.text);
    return line.status;
  } catch (...) {
    return report_fault("an exception of an unknown type");
  }
}

void exit_for_peers(int status, const std::string& message) {
  log::error("vmla: error: {}", message);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  std::_Exit(status);
}

void exit_after_peer_reports(int status) {
  std::this_thread::sleep_for(std::chrono::seconds(3));
  std::_Exit(status);
}

}  // namespace vmla::launch
