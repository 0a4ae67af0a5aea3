"""Says whether OpenSSL takes certificates, by the calls that PostgreSQL makes of it (be-secure-openssl.c, be_tls_init).

Each line asks one question, with certificates as DER in hexadecimal, and is answered by a line: `yes`, or OpenSSL's words.

  bundle CERTIFICATE...      the file that ssl_ca_file names
  chain KEY CERTIFICATE...   the file that ssl_cert_file names, with the file KEY of its private key in PEM
  text TEXT CERTIFICATE...   whether these certificates, and no others, are read from a file with this text, in hexadecimal;
                             with none, whether the file is refused
  authorities TEXT           whether it loads a file with this text, in hexadecimal, as authorities
  private TEXT               whether it loads a file with this text as a private key without a passphrase
  extensions CERTIFICATE     whether the extensions that OpenSSL reads itself can be read
  path PURPOSE COUNT CERTIFICATE...
                             whether a peer is believed (ssl_cert.c, ssl_verify_cert_chain, at security level 2): it sends the
                             first COUNT, its leaf first, and the others are trusted
"""

import base64
import ctypes
import ctypes.util
import os
import sys
import tempfile

ssl = ctypes.CDLL(ctypes.util.find_library("ssl"))
crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
POINTER, TEXT, INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
PEM, INVALID = 1, 0x80  # SSL_FILETYPE_PEM, EXFLAG_INVALID


def function(library, name, result, *arguments):
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found


method = function(ssl, "TLS_method", POINTER)
new_context = function(ssl, "SSL_CTX_new", POINTER, POINTER)
free_context = function(ssl, "SSL_CTX_free", None, POINTER)
use_chain = function(ssl, "SSL_CTX_use_certificate_chain_file", INT, POINTER, TEXT)
use_key = function(ssl, "SSL_CTX_use_PrivateKey_file", INT, POINTER, TEXT, INT)
REFUSE = ctypes.CFUNCTYPE(INT, POINTER, INT, INT, POINTER)
refuse = REFUSE(lambda *_: 0)
set_password = function(ssl, "SSL_CTX_set_default_passwd_cb", None, POINTER, REFUSE)
check_key = function(ssl, "SSL_CTX_check_private_key", INT, POINTER)
load_authorities = function(ssl, "SSL_CTX_load_verify_locations", INT, POINTER, TEXT, TEXT)
load_names = function(ssl, "SSL_load_client_CA_file", POINTER, TEXT)
set_names = function(ssl, "SSL_CTX_set_client_CA_list", None, POINTER, POINTER)
decode = function(crypto, "d2i_X509", POINTER, POINTER, ctypes.POINTER(TEXT), ctypes.c_long)
free_certificate = function(crypto, "X509_free", None, POINTER)
read_extensions = function(crypto, "X509_check_purpose", INT, POINTER, INT, INT)
flags = function(crypto, "X509_get_extension_flags", ctypes.c_uint32, POINTER)
open_file = function(crypto, "BIO_new_file", POINTER, TEXT, TEXT)
close_file = function(crypto, "BIO_free", INT, POINTER)
read_certificate = function(crypto, "PEM_read_bio_X509_AUX", POINTER, POINTER, POINTER, POINTER, POINTER)
encode = function(crypto, "i2d_X509", INT, POINTER, ctypes.POINTER(POINTER))
last_error = function(crypto, "ERR_peek_last_error", ctypes.c_ulong)
NO_START_LINE = 108
clear_errors = function(crypto, "ERR_clear_error", None)
first_error = function(crypto, "ERR_get_error", ctypes.c_ulong)
text_of = function(crypto, "ERR_reason_error_string", TEXT, ctypes.c_ulong)

new_store = function(crypto, "X509_STORE_new", POINTER)
free_store = function(crypto, "X509_STORE_free", None, POINTER)
add = function(crypto, "X509_STORE_add_cert", INT, POINTER, POINTER)
new_stack = function(crypto, "OPENSSL_sk_new_null", POINTER)
push = function(crypto, "OPENSSL_sk_push", INT, POINTER, POINTER)
free_stack = function(crypto, "OPENSSL_sk_free", None, POINTER)
new_verification = function(crypto, "X509_STORE_CTX_new", POINTER)
free_verification = function(crypto, "X509_STORE_CTX_free", None, POINTER)
initialize = function(crypto, "X509_STORE_CTX_init", INT, POINTER, POINTER, POINTER, POINTER)
parameters = function(crypto, "X509_STORE_CTX_get0_param", POINTER, POINTER)
set_level = function(crypto, "X509_VERIFY_PARAM_set_auth_level", None, POINTER, INT)
set_default = function(crypto, "X509_STORE_CTX_set_default", INT, POINTER, TEXT)
verify = function(crypto, "X509_verify_cert", INT, POINTER)
error_of = function(crypto, "X509_STORE_CTX_get_error", INT, POINTER)
error_text = function(crypto, "X509_verify_cert_error_string", TEXT, ctypes.c_long)

directory = tempfile.TemporaryDirectory()
path = os.path.join(directory.name, "certificates.pem").encode()


def write(certificates):
    with open(path, "wb") as file:
        for der in certificates:
            file.write(b"-----BEGIN CERTIFICATE-----\n")
            file.write(base64.encodebytes(bytes.fromhex(der)))
            file.write(b"-----END CERTIFICATE-----\n")


def bundle(context, *certificates):
    write(certificates)
    if load_authorities(context, path, None) != 1:
        return False
    names = load_names(path)
    if names:
        set_names(context, names)
    return bool(names)


def chain(context, key, *certificates):
    write(certificates)
    return (
        use_chain(context, path) == 1
        and use_key(context, key.encode(), PEM) == 1
        and check_key(context) == 1
    )


def text(_context, content, *certificates):
    with open(path, "wb") as file:
        file.write(bytes.fromhex(content))
    file, found = open_file(path, b"r"), []
    while parsed := read_certificate(file, None, None, None):
        encoded = POINTER()
        length = encode(parsed, ctypes.byref(encoded))
        found.append(ctypes.string_at(encoded, length).hex())
        free_certificate(parsed)
    close_file(file)
    is_at_end = last_error() & 0x7FFFFF == NO_START_LINE
    return found == list(certificates) if is_at_end and found else not certificates


def authorities(context, content):
    with open(path, "wb") as file:
        file.write(bytes.fromhex(content))
    return load_authorities(context, path, None) == 1


def private(context, content):
    with open(path, "wb") as file:
        file.write(bytes.fromhex(content))
    set_password(context, refuse)
    return use_key(context, path, PEM) == 1


def extensions(_context, certificate):
    der = bytes.fromhex(certificate)
    parsed = decode(None, ctypes.byref(TEXT(der)), len(der))
    readable = bool(parsed) and read_extensions(parsed, -1, 0) == 1 and not flags(parsed) & INVALID
    free_certificate(parsed)
    return readable


def parsed(certificate):
    der = bytes.fromhex(certificate)
    return decode(None, ctypes.byref(TEXT(der)), len(der))


def path_is_taken(_context, purpose, count, *certificates):
    certificates = [parsed(certificate) for certificate in certificates]
    store, sent, verification = new_store(), new_stack(), new_verification()
    for certificate in certificates[: int(count)]:
        push(sent, certificate)
    for certificate in certificates[int(count) :]:
        add(store, certificate)
    initialize(verification, store, certificates[0], sent)
    set_level(parameters(verification), 2)
    set_default(verification, purpose.encode())
    taken = verify(verification) == 1
    words = error_text(error_of(verification)).decode()
    free_verification(verification)
    free_stack(sent)
    free_store(store)
    for certificate in certificates:
        free_certificate(certificate)
    return True if taken else words


for line in sys.stdin:
    question, *parts = line.split()
    context = new_context(method())
    clear_errors()
    answers = {"bundle": bundle, "chain": chain, "text": text, "authorities": authorities, "private": private, "extensions": extensions, "path": path_is_taken}
    answer = answers[question](context, *parts)
    if isinstance(answer, str):
        print(answer)
    elif answer:
        print("yes")
    else:
        print((text_of(first_error()) or b"no reason given").decode())
    free_context(context)
