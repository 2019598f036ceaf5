// Verilator's runtime. Messages and failed assertions of the model come into two strings, and not to stdout and abort().
//
// It does not depend on the design, and takes longer to compile than a small one: build.py compiles it once.

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "runtime.h"

thread_local std::string printed;
thread_local std::string fault;

namespace {
int capture(const char* format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    const int length = std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    // Verilator prints a text of its own after the design's message about an assertion.
    if (!std::strstr(text, "%Error")) printed += text;
    return length;
}
}  // namespace

#define VL_PRINTF capture
#define VL_USER_STOP
#define VL_USER_FATAL
#include "verilated.cpp"
#include "verilated_threads.cpp"
#if VM_TRACE
#include "verilated_vcd_c.cpp"
#endif

void vl_stop(const char*, int line, const char*) {
    if (fault.empty()) fault = printed.empty() ? "assertion failed in line " + std::to_string(line) : printed;
}

void vl_fatal(const char*, int line, const char*, const char* message) {
    if (fault.empty()) fault = std::string(message) + " in line " + std::to_string(line);
}
